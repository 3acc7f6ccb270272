"""Digests identify towers, whatever the file and its precision."""

from forgetcheck.clip.model.towers import digest


def test_digest_ignores_storage_precision_and_order(vit):
    weights = {k: v.half() for k, v in vit.model.state_dict().items()}
    again = dict(reversed(weights.items()))
    assert digest(weights) == digest({k: v.float() for k, v in again.items()})
