"""Programs and where they run: makes the environment a peer needs and runs its program there as a child process.

Environments are kept in `benchmarks/.envs`, one per pinned requirement and Python version, and made once. A program
without a requirement runs in the interpreter of the harness.
"""

import json
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / "benchmarks" / ".envs"
PATIENCE = 600.0


class ProgramFailed(Exception):
    """A program ended badly or printed no outcome; the text carries the end of what it said."""


@dataclass(frozen=True, slots=True)
class Program:
    """A module that measures something, alone in a process.

    `options` are arguments it always gets. `variants` are settings, as extra arguments, of which the best is to be
    found before the rounds begin; `judged_by` is the figure that decides. `jobs` keep one run near a second or two on
    a small machine, and never less than `fewest`. `own_rounds` is for what is dear to set up: it runs once, makes the
    rounds itself, interleaving what it compares, and prints an outcome for each. `once` is for figures that do not
    vary: it runs in the first round alone.

    With a `server` it gets the `--url` of a new one, each time it runs. `trying` are more arguments while the best
    variant is sought, for which each is tried `trials` times. A failure of an `optional` program is told, and leaves it
    out from then on.
    """

    name: str
    module: str
    jobs: int
    requirement: str = ""
    options: tuple[str, ...] = ()
    own_rounds: bool = False
    variants: tuple[tuple[str, ...], ...] = ((),)
    judged_by: str = "processed"
    fewest: int = 10
    once: bool = False
    server: str = ""
    trying: tuple[str, ...] = ()
    trials: int = 3
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program printed for one round; figures are in jobs per second unless their names say otherwise."""

    version: str
    settings: Mapping[str, object]
    figures: Mapping[str, float]


def interpreter(requirement: str) -> Path:
    """The Python that has `requirement`; its environment is made on first use, which needs a package index."""
    if not requirement:
        return Path(sys.executable)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", requirement)
    home = ENVIRONMENTS / f"{slug}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = home / "bin" / "python"
    complete = home / "complete"  # written last, so that an interrupted installation is begun anew
    if not complete.exists():
        venv.create(home, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *requirement.split()], check=True)
        complete.touch()
    return python


def run(program: Program, *, jobs: int, scratch: Path, variant: tuple[str, ...]) -> Outcome:
    """Run the program once in a fresh directory under `scratch`, which is removed afterwards."""
    return read_outcomes(program.name, printed(program, jobs, scratch, variant))[-1]


def run_rounds(
    program: Program, *, jobs: int, scratch: Path, rounds: int, arguments: tuple[str, ...] = ()
) -> list[Outcome]:
    """Run a program that makes its own rounds, as `run` does; one outcome for each."""
    return read_outcomes(program.name, printed(program, jobs, scratch, (*arguments, "--rounds", str(rounds))))


def printed(program: Program, jobs: int, scratch: Path, arguments: tuple[str, ...]) -> str:
    """Run the program and return what it printed."""
    python = interpreter(program.requirement)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as directory:
        command = [str(python), "-m", program.module, "--jobs", str(jobs), "--directory", directory]
        command += [*program.options, *arguments]
        try:
            child = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ProgramFailed(f"{program.name} did not end within {PATIENCE:.0f} s; try fewer --jobs") from error
    if child.returncode != 0:
        raise ProgramFailed(f"{program.name} failed:\n{child.stderr[-2000:]}")
    return child.stdout


def read_outcomes(name: str, text: str) -> list[Outcome]:
    """The outcomes in what a program printed: one JSON object a line."""
    try:
        found = [Outcome(**json.loads(line)) for line in text.splitlines() if line.startswith("{")]
    except (ValueError, TypeError) as error:
        raise ProgramFailed(f"{name} printed no outcome but: {text[-500:]!r}") from error
    if not found:
        raise ProgramFailed(f"{name} printed no outcome but: {text[-500:]!r}")
    return found
