"""What wrappers put before names is never the beginning of a name that open_clip itself uses."""

from forgetcheck.clip.formats.naming import PREFIXES
from forgetcheck.clip.identity.architecture_index import index


def test_no_architecture_has_names_that_begin_like_a_wrapper():
    names = {name for layout in index().layouts.values() for name in layout}
    assert not [name for name in names if name.startswith(tuple(PREFIXES))]
