"""Where weights are written and as what: settled, and refused, before any work."""

from pathlib import Path

from forgetcheck.errors import OutputError, unknown_name
from forgetcheck.files import KINDS, LOCAL_DIR, followed, refuse_existing, refuse_existing_file

_FILES = {suffix: kind for kind, suffix in KINDS.items() if suffix}


def known_kind(name: str) -> str:
    if name not in KINDS:
        raise unknown_name("format", name, KINDS, "forgetcheck convert --help")
    return name


def kind_of(out: Path, told: str | None) -> str:
    """Decide the format by what was told, else by the suffix; both must be in accord, for others go by it."""
    if told is None:
        if out.suffix and out.suffix not in _FILES:
            raise OutputError(
                f"the suffix of '{out}' tells no format: end it in .safetensors or .pt, or add "
                "--save-as local-dir for a folder of that name."
            )
        return _FILES.get(out.suffix, LOCAL_DIR)
    kind = known_kind(told)
    if _FILES.get(out.suffix, kind) != kind or (kind == "safetensors" and out.suffix != KINDS[kind]):
        wanted = f"end in {KINDS[kind]}" if KINDS[kind] else "have another name, without that suffix"
        raise OutputError(
            f"'{out}' can't be written as {kind}: programs go by the suffix, so it must {wanted}."
        )
    return kind


def beside(folder: Path, kind: str) -> Path:
    """Return the name of a file beside a run folder: its own with the suffix of the format."""
    return folder.with_name(folder.name + KINDS[kind])


def refuse_target(out: Path, kind: str, source: str, overwrite: bool) -> None:
    """Refuse an output that would replace something, can't be written, or touches what is read."""
    refuse_overlap(out, source)
    if kind == LOCAL_DIR:
        refuse_existing(out, overwrite)
    else:
        refuse_existing_file(out, overwrite)


def refuse_overlap(out: Path, source: str) -> None:
    if not source or not Path(source).exists():
        return
    read, written = Path(source).resolve(), followed(out)
    if read == written or (written.exists() and written.samefile(read)):
        raise OutputError(f"'{out}' is what is read, and is never replaced by itself: choose another name.")
    if read in written.parents or written in read.parents:
        place = "lies inside" if read in written.parents else "holds"
        raise OutputError(f"'{out}' {place} '{source}', which is read: choose another place.")
