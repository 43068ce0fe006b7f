"""The command line: measures the rows, prints the table and writes the results as JSON."""

import argparse
import sys
from pathlib import Path

from benchmarks import machine, report
from benchmarks.envs import ROOT, ProgramFailed
from benchmarks.measure import measure
from benchmarks.rows import ROWS

RESULTS = ROOT / "benchmarks" / "results"
LEAST_ROUNDS = 5


def main() -> int:
    given = arguments().parse_args()
    rows = [row for row in ROWS if not given.only or row.name in given.only]
    programs = list({program.name: program for row in rows for program in row.programs}.values())
    scratch = machine.scratch()
    if given.rounds < LEAST_ROUNDS:
        say(f"fewer than {LEAST_ROUNDS} rounds: good for a look, not for a claim")
    try:
        measured = measure(programs, rounds=given.rounds, jobs=given.jobs, scratch=scratch, say=say)
    except ProgramFailed as error:
        say(str(error))
        return 1
    lines = [report.line(row, measured) for row in rows]
    print(report.table(lines), report.footer(measured), sep="\n\n")
    file = given.out or RESULTS / ("partial.json" if given.only else "speed.json")
    report.write(file, report.document(lines, measured, rounds=given.rounds, scratch=scratch))
    say(f"written to {file.relative_to(ROOT) if file.is_relative_to(ROOT) else file}")
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [row.name for row in ROWS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"rows to measure: {', '.join(names)}")
    parser.add_argument("--rounds", type=positive, default=LEAST_ROUNDS, help="default %(default)s")
    parser.add_argument("--jobs", type=positive, help="for every program, instead of its own number")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/speed.json; partial.json with --only")
    return parser


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


sys.exit(main())
