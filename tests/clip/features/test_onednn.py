"""Linear layers by oneDNN give what PyTorch's give, and nothing of it outlasts the call."""

import open_clip
import pytest
import torch
from torch import nn

from forgetcheck.clip.features import onednn
from forgetcheck.clip.features.onednn import by_onednn, supported

CPU = torch.device("cpu")
KINDS = [torch.float32, torch.bfloat16]
NEAR = {torch.float32: 1e-6, torch.bfloat16: 2e-2}

pytestmark = pytest.mark.skipif(not supported(CPU, torch.float32), reason="needs oneDNN on x86")


def layer(bias=True):
    torch.manual_seed(0)
    return nn.Linear(24, 10, bias=bias)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if supported(CPU, kind)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(24,), (7, 24), (2, 3, 24), (0, 24)])
def test_a_layer_is_what_it_was_up_to_rounding(kind, bias, shape):
    module, x = layer(bias), torch.randn(shape)
    with by_onednn(kind):
        found = module(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, module(x).detach(), atol=NEAR[kind], rtol=0)


def test_a_transposed_input_is_multiplied_as_it_is_meant():
    module, x = layer(), torch.randn(24, 5).T
    with by_onednn(torch.float32):
        found = module(x)
    torch.testing.assert_close(found, module(x).detach())


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50", "ViT-B-32-SigLIP2-256"])
def test_whole_models_embed_as_before(name, monkeypatch):
    config = dict(open_clip.get_model_config(name))
    small = {"vision_cfg": {"layers": 2, "width": 64}, "text_cfg": {"layers": 2, "width": 64, "heads": 2}}
    for part, options in small.items():
        config[part] = {**config[part], **options}
    if name == "RN50":
        config["vision_cfg"]["layers"] = [1, 1, 1, 1]
    torch.manual_seed(0)
    model = (open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP)(
        **config
    ).eval()
    images = torch.randn(3, 3, *[open_clip.get_model_config(name)["vision_cfg"]["image_size"]] * 2)
    texts = torch.randint(1, 1000, (3, model.context_length))
    calls = []
    multiply = onednn.multiply
    monkeypatch.setattr(onednn, "multiply", lambda *a, **k: calls.append(1) or multiply(*a, **k))
    with torch.inference_mode():
        expected = model.encode_image(images), model.encode_text(texts)
        with by_onednn(torch.float32):
            found = model.encode_image(images), model.encode_text(texts)
    assert len(calls) >= 8  # or this would compare the model with itself
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "bias",
    [
        torch.tensor(1.0),
        torch.tensor([1.0]),
        torch.tensor([1.0]).expand(10),
        torch.arange(20.0)[::2],
        torch.arange(70.0).reshape(7, 10),
    ],
    ids=["a number", "of one", "expanded", "strided", "per row"],
)
def test_a_bias_of_any_shape_is_added_as_pytorch_does(bias):
    module, x = layer(), torch.randn(7, 24)
    with by_onednn(torch.float32):
        found = nn.functional.linear(x, module.weight, bias)
    torch.testing.assert_close(found, nn.functional.linear(x, module.weight, bias).detach())


def test_weights_that_are_no_matrix_are_left_to_pytorch():
    x, weight = torch.randn(7, 24), layer().weight.detach()
    with by_onednn(torch.float32):
        assert nn.functional.linear(x, weight[0]).shape == (7,)
        assert nn.functional.linear(x, weight[:0]).shape == (7, 0)


def test_tensors_of_other_classes_are_left_to_pytorch(monkeypatch):
    class Packed(torch.Tensor):
        """As quantised weights come, which only say that they are float32."""

    monkeypatch.setattr(onednn, "multiply", pytest.fail)
    with by_onednn(torch.float32):
        nn.functional.linear(torch.randn(7, 24), layer().weight.detach().as_subclass(Packed))


def test_a_changed_weight_counts_at_once():
    module, x = layer(), torch.randn(7, 24)
    with by_onednn(torch.float32):
        module(x)
    module.weight.data[0, 0] += 1
    with by_onednn(torch.float32):
        found = module(x)
    torch.testing.assert_close(found, module(x).detach())


def test_other_numbers_are_left_to_pytorch(monkeypatch):
    monkeypatch.setattr(onednn, "multiply", pytest.fail)
    with by_onednn(torch.float32):
        assert layer().double()(torch.randn(7, 24).double()).dtype == torch.float64
        assert layer().bfloat16()(torch.randn(7, 24).bfloat16()).dtype == torch.bfloat16


def test_attention_is_as_it_was_afterwards():
    with pytest.raises(ZeroDivisionError), by_onednn(torch.float32):
        raise ZeroDivisionError
    assert torch.backends.mha.get_fastpath_enabled()


def test_what_cannot_gain_is_left_alone(monkeypatch):
    assert not supported(torch.device("meta"), torch.float32)
    assert not supported(CPU, torch.float64)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX"[::-1])
    assert not supported(CPU, torch.float32)
