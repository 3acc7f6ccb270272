"""The spellings of one model's names and shapes, and what in a state dict no prediction depends on."""

from collections.abc import Collection, Mapping
from typing import TypeVar

_HARMLESS = ("attn_mask", "position_ids", "num_batches_tracked")  # buffers that no prediction depends on
_ARCHIVED = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's archives keep beside weights
SCALARS = ("logit_scale", "logit_bias")  # 0-d or 1-d, by age and taste
_FLAT_TEXT = ("text_projection", "positional_embedding", "token_embedding.", "transformer.", "ln_final.")

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Value = TypeVar("Value")


def canonical(shapes: Shapes) -> dict[str, Shape]:
    """Bring names and shapes to one spelling, so that harmless differences are none.

    The text tower is spelled as in open_clip's custom-text models (`text.`), the logit scale and bias
    are 0-d, and what no prediction depends on is left out.
    """
    return {
        canonical_name(name): () if name in SCALARS and shape == (1,) else tuple(shape)
        for name, shape in shapes.items()
        if not harmless(name)
    }


def canonical_name(name: str) -> str:
    return f"text.{name}" if name.startswith(_FLAT_TEXT) else name


def harmless(name: str) -> bool:
    """Tell whether a model predicts the same with and without this entry of its state dict."""
    return name.rpartition(".")[2] in _HARMLESS or name in _ARCHIVED


def image_alone(shapes: Shapes) -> bool:
    """Tell whether there is an image tower and nothing of a text tower."""
    towers = {canonical_name(name).partition(".")[0] for name in shapes}
    return "visual" in towers and not towers & {"text", "text_decoder"}


def renamed(tensors: Mapping[str, Value], like: Collection[str]) -> dict[str, Value]:
    """Give tensors the names of the model they go into, and drop harmless ones it doesn't have.

    `like` are the model's own names: the text tower is renamed from the flat to the custom-text layout
    or back, as the model has it.
    """
    own = {canonical_name(name): name for name in like}
    return {
        own.get(canonical_name(name), name): value
        for name, value in tensors.items()
        if canonical_name(name) in own or not harmless(name)
    }
