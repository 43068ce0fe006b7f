"""`python -m benchmarks redis`: makes the rounds, prints the tables and writes the results as JSON."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import machine, report, servers
from benchmarks.envs import ROOT, Program, ProgramFailed
from benchmarks.measure import measure
from benchmarks.redis import table
from benchmarks.redis.contestants import PROGRAMS
from benchmarks.redis.targets import TARGETS, find

RESULTS = ROOT / "benchmarks" / "results"

Say = Callable[[str], None]


def main(arguments: Sequence[str], say: Say) -> int:
    given = parser().parse_args(arguments)
    chosen = [on(each, given) for each in PROGRAMS if wanted(each, given.only)]
    scratch = machine.scratch()
    say(server := servers.version(given.server))
    try:
        measured = measure(chosen, rounds=given.rounds, scale=given.scale, scratch=scratch, say=say)
    except ProgramFailed as error:
        say(str(error))
        return 1
    found = [each for each in (find(target, measured) for target in TARGETS) if each]
    print(table.text(found, measured))
    partial = given.only or given.scale != 1
    file = given.out or RESULTS / ("partial.json" if partial else f"{given.server}.json")
    content = table.document(found, measured, server=server, rounds=given.rounds, scratch=scratch, note=given.note)
    report.write(file, content)
    say(f"written to {file}")
    return 0


def parser() -> argparse.ArgumentParser:
    names = ", ".join(each.name for each in PROGRAMS)
    made = argparse.ArgumentParser(prog="python -m benchmarks redis", description=__doc__)
    made.add_argument("--only", nargs="+", default=[], metavar="PROGRAM", help=f"also '*, memory': {names}")
    made.add_argument("--server", choices=("redis", "valkey"), default="redis", help="default %(default)s")
    made.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    made.add_argument("--scale", type=float, default=1.0, help="of every program's number of jobs; 0.05 for a look")
    made.add_argument("--first-variant", action="store_true", help="seek no best settings: for a look")
    made.add_argument("--note", default="", help="kept with the results: what else ran on the machine")
    made.add_argument("--out", type=Path, help="default benchmarks/results/redis.json; partial.json for a part")
    return made


def on(program: Program, given: argparse.Namespace) -> Program:
    """The program on the server that is asked for."""
    variants = program.variants[:1] if given.first_variant else program.variants
    return replace(program, server=given.server, variants=variants)


def wanted(program: Program, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(program.name, pattern) for pattern in patterns)
