"""Counts of several processes: the multi-process mode of ``prometheus-client``, and what it leaves undone.

Each process writes its values to files of its own in one directory; whoever serves them adds them up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_KEPT = "0"
"""Stands where a file's name has the process it is of: the sums of those that have gone."""
_FOLDING = threading.Lock()


class _Sums(Collector):
    """Reads while no file is being folded into another, or its counts would be there twice."""

    def __init__(self) -> None:
        self._files = MultiProcessCollector(None)

    def collect(self) -> Iterable[Metric]:
        with _FOLDING:
            return list(self._files.collect())


def shared_samples() -> CollectorRegistry | None:
    """Return a registry with the sums of all processes that share a directory; None when this one shares none."""
    if not os.environ.get(VARIABLE):
        return None
    registry = CollectorRegistry()
    registry.register(_Sums())
    return registry


def forget_process(pid: int) -> None:
    """Let the gauges of a process that has gone vanish, and keep what it counted. For the process that serves.

    Its files go: what they counted moves to one file for all that have gone, so that a supervisor which replaces
    its processes for months does not gather theirs.
    """
    with _FOLDING:
        mark_process_dead(pid)
        folder = Path(os.environ[VARIABLE])
        for sort in ("counter", "histogram"):
            gone = folder / f"{sort}_{pid}.db"
            if gone.exists():
                _fold(gone, folder / f"{sort}_{_KEPT}.db")


def _fold(gone: Path, kept: Path) -> None:
    sums = MmapedDict(str(kept))
    for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(gone)):
        sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    sums.close()
    gone.unlink()
