"""The census counts what is odd among the numbers of a tower."""

import pytest
import torch

from forgetcheck.clip.model.tensor_stats import CHUNK, kinds, take_census


def test_the_census_counts_each_kind_and_names_the_first_offenders() -> None:
    bad = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.0, 1e-40])
    census = take_census(
        {
            "visual.fine": torch.ones(3),
            **{f"visual.bad{number}": bad for number in range(5)},
            "visual.bn1.running_mean": torch.zeros(4),
            "visual.bn1.num_batches_tracked": torch.tensor(3),
            "visual.small": torch.tensor([1e-6], dtype=torch.float16),
        }
    )
    assert (census.nan, census.infinite, census.denormal, census.zeros) == (5, 10, 6, 14)
    assert census.not_finite == ("visual.bad0", "visual.bad1", "visual.bad2")
    assert census.denormal_in == census.not_finite
    assert census.parameters == 3 + 35 + 1
    assert census.precisions == {"float32": 38, "float16": 1}
    assert not census.finite


def test_a_tensor_of_several_pieces_is_counted_whole() -> None:
    value = torch.zeros(CHUNK + 3)
    value[-1] = float("nan")
    assert kinds(value) == {"zeros": CHUNK + 2, "nan": 1, "infinite": 0, "denormal": 0}
    assert kinds(torch.ones(4, 6).T[::2]) == {"zeros": 0, "nan": 0, "infinite": 0, "denormal": 0}


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_denormal_means_so_in_the_stored_precision(precision: torch.dtype) -> None:
    smallest = torch.finfo(precision).smallest_normal
    assert kinds(torch.tensor([smallest, -smallest / 2, 0], dtype=precision))["denormal"] == 1
