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
OWN = "holdfast-metrics-"
"""How the name of a directory begins that a supervisor has made for itself and its processes."""
_GONE = "0"
"""Stands where a file's name has its process: what those that have gone counted."""
_READING = threading.Lock()


def shared_samples() -> CollectorRegistry | None:
    """Return a registry with the sums of all processes that share a directory; None when this one shares none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    registry = CollectorRegistry()
    registry.register(_Sums(Path(folder)))
    return registry


class _Sums(Collector):
    """Adds up what the processes of a directory counted. Gauges of those that have gone vanish."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        with _READING:  # or a file would be read while it moves into another
            tidy(self._folder)
            return list(MultiProcessCollector(None, str(self._folder)).collect())


def tidy(folder: Path) -> None:
    """Let the gauges of processes that have gone vanish; in a directory of a supervisor's own their files too, or one
    that replaces its processes for months would gather them. What they counted moves into one file for all of them.
    """
    gone = [pid for pid in _processes(folder) if not _lives(pid)]
    for pid in gone:
        mark_process_dead(pid, str(folder))
    if not folder.name.startswith(OWN):
        return
    for pid in gone:
        for sort in ("counter", "histogram", "summary"):
            if (file := folder / f"{sort}_{pid}.db").exists():
                _fold(file, folder / f"{sort}_{_GONE}.db")


def _processes(folder: Path) -> set[int]:
    return {int(pid) for file in folder.glob("*.db") if (pid := file.stem.rpartition("_")[2]) != _GONE}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _fold(file: Path, into: Path) -> None:
    sums = MmapedDict(str(into))
    for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):
        sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    sums.close()
    file.unlink()
