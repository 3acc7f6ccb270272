"""One model, several spellings: the names of its tensors are brought to those of the model it goes into."""

import pytest

from forgetcheck.clip.model.tensor_names import image_alone, renamed


def test_names_are_brought_to_the_layout_of_the_model() -> None:
    flat, custom = (
        {"transformer.a": 1, "visual.b": 2, "attn_mask": 3},
        {"text.transformer.a": 1, "visual.b": 2},
    )
    assert renamed(flat, custom) == custom
    assert renamed(custom, ["transformer.a", "visual.b"]) == {"transformer.a": 1, "visual.b": 2}
    assert renamed({"head.weight": 1, **custom}, custom) == {"head.weight": 1, **custom}  # not hidden
    assert renamed(flat, flat) == flat


@pytest.mark.parametrize(
    ("names", "alone"),
    [
        (["visual.conv1.weight", "logit_scale"], True),
        (["visual.conv1.weight", "ln_final.weight"], False),
        (["visual.conv1.weight", "text.ln_final.weight"], False),
        (["visual.conv1.weight", "text_decoder.a"], False),
        (["transformer.a"], False),
    ],
)
def test_an_image_tower_alone(names: list[str], alone: bool) -> None:
    assert image_alone(dict.fromkeys(names, (1,))) is alone
