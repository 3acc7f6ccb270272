"""Where and how far two checkpoints differ, bit for bit and in relative distance."""

import json
import math
import re

import pytest
import torch

from forgetcheck.clip.identity import weight_change
from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.identity.weight_change import block_of, compare, place
from forgetcheck.clip.model.encoder import Encoder


def copied(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in encoder.weights.items()}


def test_a_model_does_not_differ_from_itself(tower: Encoder) -> None:
    found = compare(tower.weights, copied(tower))
    assert found.equal
    assert all(change.equal and change.relative == 0.0 for change in (*found.towers, *found.blocks))
    assert [change.name for change in found.towers] == ["visual", "text", "scale"]


def test_one_changed_block_is_found_with_its_distance(vit: Encoder) -> None:
    tuned = copied(vit)
    name = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    tuned[name] *= 1.5
    found = compare(vit.weights, tuned)
    block = [value for key, value in vit.weights.items() if "visual.transformer.resblocks.1." in key]
    norm = math.sqrt(sum(float(value.detach().square().sum()) for value in block))
    (moved,) = [change for change in found.blocks if not change.equal]
    assert (moved.name, moved.tower, moved.changed, moved.tensors) == (
        "visual.block.2",
        "visual",
        1,
        len(block),
    )
    assert moved.relative == pytest.approx(0.5 * float(vit.weights[name].detach().norm()) / norm, rel=1e-6)
    assert {change.name: change.equal for change in found.towers} == {
        "visual": False, "text": True, "scale": True,
    }  # fmt: skip
    assert not found.equal


def test_the_distance_of_a_tower_is_that_of_all_its_weights(vit: Encoder) -> None:
    tuned = {name: value * 1.01 for name, value in copied(vit).items()}
    found = compare(vit.weights, tuned)
    assert all(c.relative == pytest.approx(0.01, rel=1e-3) for c in (*found.towers, *found.blocks))


def test_blocks_come_in_the_order_of_the_forward(vit: Encoder) -> None:
    names = [change.name for change in compare(vit.weights, vit.weights).blocks]
    assert names == [
        "visual.stem", "visual.block.1", "visual.block.2", "visual.end",
        "text.stem", "text.block.1", "text.end", "logit_scale",
    ]  # fmt: skip


def test_the_blocks_are_those_of_the_encoder(tower: Encoder) -> None:
    blocks = {block_of(name) for name in tower.weights}
    assert sum(name.startswith("visual.block.") for name in blocks) == tower.blocks
    assert {"visual.stem", "visual.end", "text.stem", "text.end"} <= blocks


def test_every_tensor_of_every_architecture_has_a_block_and_no_numbered_one_is_missed() -> None:
    for name in index().fits:
        layout = index().layouts[index().fits[name]]
        blocks = {block_of(key) for key in layout}
        assert sorted(blocks, key=place)[0] == "visual.stem", name
        assert {"visual.block.1", "visual.end", "text.stem", "text.block.1", "text.end"} <= blocks, name
        ends = [key for key in layout if block_of(key).endswith(".end")]
        assert not [key for key in ends if re.search(r"(blocks|stages|layers?)\.?\d", key)], name


def test_bits_are_compared_not_values() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert compare({"a": nan}, {"a": nan.clone()}).equal
    assert not compare({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}).equal
    assert not compare({"visual.n": torch.tensor(3)}, {"visual.n": torch.tensor(4)}).equal


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_precision_matters_only_where_it_changes_values(precision: torch.dtype) -> None:
    stored = torch.randn(100, generator=torch.Generator().manual_seed(0)).to(precision)
    assert compare({"a": stored}, {"a": stored.float()}).equal
    (block,) = compare({"a": stored.float() + 1e-6}, {"a": stored}).blocks
    assert not block.equal
    assert 0 < block.relative < 1e-4
    (block,) = compare({"a": stored}, {"a": stored * 2}).blocks
    assert block.relative == pytest.approx(1.0, rel=1e-6)


def test_sums_of_half_precision_do_not_overflow() -> None:
    large = torch.full((1000,), 60000.0, dtype=torch.float16)
    (block,) = compare({"a": large}, {"a": large / 2}).blocks
    assert block.relative == pytest.approx(0.5, rel=1e-3)


def test_names_and_shapes_that_only_one_has_are_told() -> None:
    base = {"visual.a": torch.ones(2), "visual.b": torch.ones(2), "c": torch.ones(2)}
    found = compare(base, {"visual.a": torch.ones(2), "visual.b": torch.ones(3), "head": torch.ones(1)})
    assert (found.only_base, found.only_tuned, found.reshaped) == (("c",), ("head",), ("visual.b",))
    assert not found.equal


def test_the_record_is_json_also_where_nothing_is_finite() -> None:
    base = {"visual.a": torch.zeros(2), "b": torch.tensor([float("inf")]), "logit_scale": torch.tensor(1.0)}
    tuned = {"visual.a": torch.ones(2), "b": torch.tensor([1.0]), "logit_scale": torch.tensor(2.0)}
    record = compare(base, tuned).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [tower["relative"] for tower in record["towers"]] == [None, None, 1.0]


def test_large_tensors_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_change, "CHUNK", 7)
    base = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    tuned = base.clone()
    tuned[4, 8] += 1
    (block,) = compare({"a": base}, {"a": tuned}).blocks
    assert (block.changed, block.tensors) == (1, 1)
    assert block.distance == pytest.approx(1.0, rel=1e-6)
    assert block.norm == pytest.approx(float(base.norm()), rel=1e-6)
    assert compare({"a": base.T}, {"a": base.T.contiguous()}).equal


def test_the_statistics_of_batch_norm_are_no_weights():
    """They are large and move without any training: beside them no weight would seem to."""
    base = {
        "visual.trunk.blocks.0.bn1.weight": torch.ones(4),
        "visual.trunk.blocks.0.bn1.running_var": torch.full((4,), 900.0),
        "visual.trunk.blocks.0.bn1.num_batches_tracked": torch.tensor(5),
    }
    tuned = {name: value + 1 for name, value in base.items()}
    (block,) = compare(base, tuned).blocks
    assert block.changed == 3
    assert block.relative == pytest.approx(1.0)
    tuned["visual.trunk.blocks.0.bn1.weight"] = base["visual.trunk.blocks.0.bn1.weight"]
    (block,) = compare(base, tuned).blocks
    assert (block.changed, block.relative) == (2, 0.0)
