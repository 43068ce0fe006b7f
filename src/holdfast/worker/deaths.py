"""How a process died, in the words that a job's record keeps; the kernel tells when memory was the reason."""

from __future__ import annotations

import signal
from pathlib import Path

GONE = "worker died: its process has gone"
"""What is said where nobody knows how."""


def died(code: int, *, out_of_memory: bool = False) -> str:
    """Say how a process died, from its exit code as ``Popen.returncode`` and ``Process.exitcode`` have it: negative
    for a signal. ``out_of_memory`` tells that the kernel killed it for that.
    """
    if code >= 0:
        return f"worker died: exit code {code}"
    return f"worker died: {_signal(-code)}{' (out of memory)' if out_of_memory else ''}"


def killed(why: str) -> str:
    """Say that a process was killed by whoever looks after it, and why: ``stalled``, ``over --max-memory``."""
    return f"worker died: killed, {why}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, most of which have no name
        return f"signal {number}"


class OutOfMemory:
    """Tells whether the kernel has killed a process for lack of memory, among those that share this one's limit.

    It is the control group's own count, of version 2 or 1, and without one that of the whole machine; where there is
    none either, nothing is ever told. Reads one small file a call, and never raises. ``root`` is where the file system
    begins.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._file, self._name = _counter(root)
        self._known = self._count()

    def has_killed(self) -> bool:
        """Tell whether it has killed any since the last call, or since this object was made."""
        before, self._known = self._known, self._count()
        return self._known > before

    def _count(self) -> int:
        return _read(self._file, self._name) or 0


def _counter(root: Path) -> tuple[Path, str]:
    """Return the file that counts kills, and the name of the count in it."""
    groups = _groups(root / "proc/self/cgroup")
    for kind, inside, mounted in _mounts(root / "proc/self/mountinfo"):
        if kind not in groups:
            continue
        name = "memory.events" if kind == "cgroup2" else "memory.oom_control"
        # Inside a container the group may be told as the host sees it, while only a part of the tree is mounted.
        part = groups[kind].removeprefix(inside.rstrip("/")) if groups[kind].startswith(inside) else "/"
        file = root / mounted.lstrip("/") / part.lstrip("/") / name
        if _read(file, "oom_kill") is not None:
            return file, "oom_kill"
    return root / "proc/vmstat", "oom_kill"


def _groups(file: Path) -> dict[str, str]:
    """Return the control groups of this process that may limit its memory, by the type of their file system."""
    found: dict[str, str] = {}
    for line in _lines(file):
        _, controllers, group = line.split(":", 2)
        if not controllers:
            found["cgroup2"] = group
        elif "memory" in controllers.split(","):
            found["cgroup"] = group
    return found


def _mounts(file: Path) -> list[tuple[str, str, str]]:
    """Return type, mounted part and mount point of what is mounted of such groups."""
    found: list[tuple[str, str, str]] = []
    for line in _lines(file):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        inside, mounted = before.split(" ")[3:5]
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            found.append((kind, inside, mounted))
    return found


def _read(file: Path, name: str) -> int | None:
    for line in _lines(file):
        known, _, value = line.partition(" ")
        if known == name:
            return int(value)
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
