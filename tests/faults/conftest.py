"""Stages for the tests, one store after the other."""

import itertools

import pytest

from tests.disk.layers import cannot
from tests.faults.harness import Stage
from tests.faults.stores import HARNESSES


@pytest.fixture(params=HARNESSES)
def stages(request, tmp_path, record_property):
    """Make stages, each with a store of its own; their processes end with the test."""
    if lack := request.param.lacks():
        cannot(f"faults of {request.param.name}", lack, record_property)
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
