"""Numbers of bytes as people write them."""

import re

from forgetcheck.errors import InputError

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4,
         "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}  # fmt: skip


def read_size(option: str, text: str) -> int:
    """Read a number of bytes: 500MB, 4 GiB. Raises InputError, naming the option, for anything else."""
    found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE | re.ASCII)
    if found is None:
        raise InputError(f"{option} {text}: expected a size such as 500MB or 4GiB.")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])
