"""What the jobs wrote: which were started and done, when, and by which process."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Effects:
    """Reads the file of side effects as it grows; times are of the monotonic clock."""

    file: Path
    started: dict[int, list[float]] = field(default_factory=dict)
    done: dict[int, list[float]] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)
    """The process that has started a job and not done it, by the job's number."""

    _offset: int = 0

    def read(self) -> bool:
        """Take in what was written since the last call; says whether anything was."""
        with self.file.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text.rpartition(b"\n")[0]
        for line in whole.splitlines():
            self._take(*line.decode().split())
        self._offset += len(whole) + bool(whole)
        return bool(whole)

    def _take(self, number: str, what: str, process: str, at: str) -> None:
        job = int(number)
        if what == "started":
            self.started.setdefault(job, []).append(float(at))
            self.running[job] = int(process)
        else:
            self.done.setdefault(job, []).append(float(at))
            self.running.pop(job, None)
