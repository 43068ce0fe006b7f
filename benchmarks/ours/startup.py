"""What `import holdfast` and `holdfast --help` take over an interpreter that does nothing, in milliseconds."""

import platform
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.job import Stopwatch, emit, request
from benchmarks.ours.places import VERSION

BARE = [sys.executable, "-c", "pass"]
COMMANDS = {
    "import": [sys.executable, "-c", "import holdfast"],
    "app": [sys.executable, "-c", "import holdfast; holdfast.App('memory:').backend"],
    "help": [str(Path(sys.executable).with_name("holdfast")), "--help"],
}


def milliseconds(command: list[str]) -> float:
    watch = Stopwatch()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return watch.seconds * 1000


def main() -> None:
    runs = request().jobs
    commands = {"bare": BARE, **COMMANDS}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        milliseconds(command)  # writes the byte code, warms the page cache
    for _ in range(runs):
        for name, command in commands.items():
            taken[name].append(milliseconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    figures = {f"{name}_over_bare_ms": medians[name] - medians["bare"] for name in COMMANDS}
    emit(VERSION, {"runs": runs, "python": platform.python_version()}, {"bare_ms": medians["bare"]} | figures)


main()
