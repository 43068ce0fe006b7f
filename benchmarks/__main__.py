"""The command line: measures the rows, prints the table and writes the results as JSON."""

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import machine, report
from benchmarks.envs import ROOT, ProgramFailed
from benchmarks.killed import command as killed
from benchmarks.log import command as log
from benchmarks.measure import measure
from benchmarks.redis import command as redis
from benchmarks.rows import LIMITS, ROWS, Limit, Row

CLAIMS: tuple[Row | Limit, ...] = (*ROWS, *LIMITS)
RESULTS = ROOT / "benchmarks" / "results"
LEAST_ROUNDS = 5


def main() -> int:
    if sys.argv[1:2] == ["killed"]:
        return killed.main(sys.argv[2:], say)
    if sys.argv[1:2] == ["log"]:
        return log.main(sys.argv[2:], say)
    if sys.argv[1:2] == ["redis"]:
        return redis.main(sys.argv[2:], say)
    given = arguments().parse_args()
    rows = [row for row in ROWS if wanted(row.name, given.only)]
    limits = [limit for limit in LIMITS if wanted(limit.name, given.only)]
    chosen: list[Row | Limit] = [*rows, *limits]
    programs = list({program.name: program for row in chosen for program in row.programs}.values())
    scratch = machine.scratch()
    if given.rounds < LEAST_ROUNDS:
        say(f"fewer than {LEAST_ROUNDS} rounds: good for a look, not for a claim")
    try:
        measured = measure(programs, rounds=given.rounds, scale=given.scale, scratch=scratch, say=say)
    except ProgramFailed as error:
        say(str(error))
        return 1
    lines = [report.line(row, measured) for row in rows]
    held = [report.limit_line(limit, measured) for limit in limits]
    print(report.text(lines, held, measured))
    file = given.out or RESULTS / ("partial.json" if given.only else "speed.json")
    report.write(file, report.document(lines, held, measured, rounds=given.rounds, scratch=scratch))
    say(f"written to {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join(row.name for row in CLAIMS)
    parser.add_argument(
        "--only", nargs="+", type=pattern, default=[], metavar="NAME", help=f"rows to measure, also 'sqlite-*': {names}"
    )
    parser.add_argument("--rounds", type=positive, default=LEAST_ROUNDS, help="default %(default)s")
    parser.add_argument("--scale", type=float, default=1.0, help="of every program's number of jobs; 0.05 for a look")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/speed.json; partial.json with --only")
    return parser


def wanted(name: str, patterns: list[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def pattern(text: str) -> str:
    if not any(wanted(row.name, [text]) for row in CLAIMS):
        raise argparse.ArgumentTypeError(f"no row is called {text}")
    return text


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


sys.exit(main())
