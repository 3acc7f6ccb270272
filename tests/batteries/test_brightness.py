"""12 bits of a camera in 16-bit files, in every source that reads files: told, and scaled by `white`."""

import numpy as np
import pytest
import sources
from PIL import Image
from vision_layouts import without_sums, write_layout

from forgetcheck import catalog
from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.batteries.brightness import brightest
from forgetcheck.batteries.check import lint
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.errors import InputError

TINY = find_checkpoint("forgetcheck:tiny")
DARK = "of the images is 1"


def levels(name, number=0, side=12):  # (h, w), of 0 to 4095
    dice = np.random.default_rng([sum(name.encode()), number])
    return dice.integers(0, 4096, (side, side)).astype(np.uint16)


@pytest.fixture
def dim(monkeypatch):
    """Let every layout hold such files."""
    monkeypatch.setattr(sources, "picture", lambda *known: Image.fromarray(levels(*known)))


@pytest.mark.parametrize("name", sources.EXAMPLES)
def test_every_source_of_files_tells_it_and_scales(name, tmp_path, dim):
    spec = sources.EXAMPLES[name](tmp_path / "data")
    dark, bright = (catalog.build("tasks", text).split("test") for text in (spec, f"{spec},white=4095"))
    assert "say so by white=4095" in brightest(dark)
    assert brightest(bright) == ""
    assert dark.ids == bright.ids
    assert dark.contents() != bright.contents()  # or a cache would show the one for the other
    known = {(levels(label, number).astype(float) * 255 / 4095).round().astype(np.uint8).tobytes()
             for label in (*sources.COLOURS, "SeaLake", "AnnualCrop") for number in range(110)}  # fmt: skip
    label = np.flatnonzero(bright.labels == bright.labels.max())[0]
    assert bright.image(int(label)).getchannel("R").tobytes() in known


@pytest.mark.parametrize("name", ["captions", "swaps"])
def test_it_reaches_those_who_ask_about_captions(name, tmp_path, dim):
    spec = sources.EXAMPLES[name](tmp_path / "data")
    (tmp_path / "b.toml").write_text(f"[[task]]\nname = 'told'\nsource = '{spec}'\n")
    assert DARK in " ".join(remark.text for remark in lint(str(tmp_path / "b.toml")).remarks)
    for text, expected in ((spec, True), (f"{spec},white=4095", False)):
        found = audit(TINY, [TINY], Battery("b", {"told": catalog.build("tasks", text)}), device="cpu")
        assert found.answers
        assert all((DARK in " ".join(each.warnings)) == expected for each in found.answers)


def test_tars_of_captions_are_scaled_too(tmp_path, dim):
    from webdataset import TarWriter

    sources.lines(tmp_path / "test" / "nshards.txt", "1")
    sources.lines(tmp_path / "dataset_type.txt", "retrieval")
    with TarWriter(str(tmp_path / "test" / "0.tar")) as writer:
        writer.write({"__key__": "a", "png": sources.encoded(sources.picture("x")), "txt": "a fox"})
    image = catalog.build("tasks", f"captions:path={tmp_path},white=4095").split("test").image(0)
    assert int(np.asarray(image).max()) == round(int(levels("x").max()) * 255 / 4095)


def test_what_torchvision_decodes_itself_has_no_white(tmp_path, monkeypatch):
    without_sums(monkeypatch)
    write_layout("CIFAR10", tmp_path)
    task = catalog.build("tasks", f"torchvision:name=CIFAR10,root={tmp_path},white=4095")
    with pytest.raises(InputError, match="torchvision itself decodes CIFAR10, to 8 bits; leave out white"):
        task.split("test")
