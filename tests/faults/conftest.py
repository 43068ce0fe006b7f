"""Stages for the tests, one store after the other."""

import itertools

import pytest

from tests.faults.harness import HARNESSES, Stage


@pytest.fixture(params=HARNESSES, ids=lambda harness: harness.name)
def stages(request, tmp_path):
    """Make stages, each with a store of its own; their processes end with the test."""
    made, numbers = [], itertools.count(1)

    def make():
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        made.append(Stage(request.param(folder)))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


@pytest.fixture
def stage(stages):
    """One stage."""
    return stages()
