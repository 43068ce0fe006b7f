"""Where a contestant performs: a directory, a server's URL, and its module run in its own environment."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import processes
from benchmarks.envs import ROOT, Outcome, ProgramFailed, interpreter, read_outcomes
from benchmarks.killed.contestants import Contestant

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    contestant: Contestant
    directory: Path
    url: str

    def ask(self, *what: str) -> Outcome:
        """Run the contestant's module to its end and return what it printed."""
        child = subprocess.run(
            self._command(*what),
            check=False,
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if child.returncode != 0:
            raise ProgramFailed(f"{self.contestant.name} failed to {what[0]}:\n{child.stderr[-2000:]}")
        return read_outcomes(self.contestant.name, child.stdout)[-1]

    @contextmanager
    def worker(self) -> "Iterator[subprocess.Popen[bytes]]":
        """The library's own worker command, ended with the block where it still lives."""
        with (self.directory / "log").open("ab") as log:
            started = subprocess.Popen(
                self._command("work"), cwd=ROOT, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield started
        finally:
            processes.end(started)

    def log(self) -> str:
        """The end of what the workers said."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def _command(self, *what: str) -> list[str]:
        return [str(interpreter(self.contestant.requirement)), "-m", self.contestant.module, *what]

    def _environment(self) -> dict[str, str]:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "KILLED_DIRECTORY": str(self.directory),
            "KILLED_URL": self.url,
            "KILLED_TUNED": "1" if self.contestant.tuned else "0",
        }
