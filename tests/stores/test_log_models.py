"""Groups of every store beside a plain model, for long: a hundred thousand lives of a log, a hundred to a seed."""

import pytest

from holdfast.testing.conformance.logs.model import run_log_model
from tests.disk.layers import Cases, seeds
from tests.stores.disk_harness import DiskLogHarness
from tests.stores.memory_harness import MemoryLogHarness
from tests.stores.sqlite_harness import SqliteLogHarness

LIVES = 100
STORES = {
    "memory": (lambda folder: MemoryLogHarness(), Cases(0, 800, long=True)),
    "sqlite": (SqliteLogHarness, Cases(0, 100, long=True)),
    "disk": (DiskLogHarness, Cases(0, 100, long=True)),
}


@pytest.mark.long
@pytest.mark.parametrize("store", STORES)
def test_groups_do_what_the_model_does(tmp_path, store, record_property):
    opened, cases = STORES[store]

    with opened(tmp_path) as harness:
        logs = harness.open_logs()
        for seed in seeds(cases, record_property):
            run_log_model(harness, logs, examples=LIVES, of=seed)
