"""The digits: all 1,797 scans, split once and for all."""

import numpy as np
import pytest

from forgetcheck.tasks.digits import Digits


def test_all_scans_are_used_and_the_split_is_stratified():
    train, test = Digits().split("train"), Digits().split("test")
    assert (len(train), len(test)) == (1201, 596)
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert shares == pytest.approx(np.full(10, 1 / 3), abs=0.005)


def test_a_scan_is_light_ink_on_dark():
    image = np.asarray(Digits().split("train").image(0))
    assert image.shape == (32, 32, 3)
    assert image.min() == 0
    assert image.max() > 200
    assert image.mean() < 128
