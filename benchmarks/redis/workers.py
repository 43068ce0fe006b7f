"""Worker processes as a library's own command starts them, ended with the block."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.redis.asked import asked
from benchmarks.redis.library import Library

ROOT = Path(__file__).resolve().parent.parent.parent


@contextmanager
def workers(library: Library, number: int) -> Iterator[None]:
    """So many worker processes."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(library.environment)
    with ExitStack() as running, log().open("ab") as output:
        for program, *arguments in library.commands(number):
            command = [str(Path(sys.executable).with_name(program)), *arguments]
            started = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
            running.callback(processes.end, started)
        yield


def log() -> Path:
    """What the workers say."""
    return Path(asked().directory) / "log"
