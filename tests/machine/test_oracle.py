"""The machine, behind the memory store, does what a naive reading of the promises says."""

import pytest

from holdfast.testing.conformance.model import EXAMPLES, PARTS, run_model
from tests.machine.oracle import Oracle
from tests.stores.memory_harness import MemoryHarness


@pytest.mark.timeout(400)  # when it fails, the shortest failing life of a queue is looked for
@pytest.mark.parametrize("part", range(PARTS))
def test_the_machine_does_what_the_naive_oracle_says(part):
    with MemoryHarness() as harness:
        run_model(harness, harness.open(), Oracle, examples=EXAMPLES // PARTS)
