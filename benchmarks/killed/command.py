"""`python -m benchmarks killed`: makes the trials, prints the table and writes the results as JSON."""

import argparse
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import machine, report, servers
from benchmarks.envs import ROOT, ProgramFailed, interpreter
from benchmarks.killed import table
from benchmarks.killed.contestants import CONTESTANTS, Contestant
from benchmarks.killed.trial import Result, trial

RESULTS = ROOT / "benchmarks" / "results" / "killed.json"

Say = Callable[[str], None]


def main(arguments: Sequence[str], say: Say) -> int:
    given = parser().parse_args(arguments)
    chosen = [each for each in CONTESTANTS if wanted(each, given.only)]
    scratch, commit = machine.scratch(), machine.commit()
    for requirement in {each.requirement for each in chosen} | {servers.REQUIREMENTS[each.server] for each in chosen}:
        interpreter(requirement)
    rounds = []
    for number in range(1, given.rounds + 1):
        say(f"round {number} of {given.rounds}")
        rounds.append(one_round(chosen, given.jobs, scratch, say))
    found = {each: [results[each] for results in rounds if each in results] for each in chosen}
    results = {each: of_each for each, of_each in found.items() if of_each}
    print(table.text(results))
    report.write(given.out, table.kept(given.out, table.document(results, commit=commit, scratch=scratch)))
    say(f"written to {given.out}")
    return int(any(len(each) < given.rounds for each in found.values()))


def one_round(chosen: Sequence[Contestant], jobs: int, scratch: Path, say: Say) -> dict[Contestant, Result]:
    """A trial of each: one after the other while they work, together while they wait. Failures are left out."""
    turn = threading.Lock()
    results: dict[Contestant, Result] = {}

    def make(contestant: Contestant) -> None:
        try:
            results[contestant] = trial(contestant, jobs=jobs, scratch=scratch, turn=turn)
        except ProgramFailed as error:
            say(str(error))
        else:
            say(" | ".join(table.cells(contestant, [results[contestant]])))

    with ThreadPoolExecutor(max_workers=len(chosen)) as threads:
        for _ in threads.map(make, chosen):
            pass
    return results


def parser() -> argparse.ArgumentParser:
    names = ", ".join(each.name for each in CONTESTANTS)
    made = argparse.ArgumentParser(prog="python -m benchmarks killed", description=__doc__)
    made.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help=f"whom to measure, also 'holdfast*': {names}"
    )
    made.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    made.add_argument("--jobs", type=int, default=1000, help="default %(default)s")
    made.add_argument("--out", type=Path, default=RESULTS, help="whom this run leaves out stays; default %(default)s")
    return made


def wanted(contestant: Contestant, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(contestant.name, pattern) for pattern in patterns)
