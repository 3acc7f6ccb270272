"""Hand-made answers and their judgement, as fixtures."""

import pytest
from hypothesis import settings
from planted import make_answers, make_judged

# the same draws in every run, and no failure because the machine is busy
settings.register_profile("calm", deadline=None, derandomize=True)
settings.load_profile("calm")


@pytest.fixture
def answers():
    return make_answers


@pytest.fixture
def judged():
    return make_judged
