"""What is measured of each library, one phase after the other, on a server that nobody else uses.

enqueue  one by one, by a hundred senders at once, in bulk; then emptied
process  a filled queue, by one worker process. The clock runs from the moment when a quarter is done until nothing is
         left, so the start of the process is not in it
two      the same by two worker processes
both     jobs are sent one by one while a worker works, until nothing is left; then how soon an idle worker begins
memory   of the server: for a job that waits, for one that is done and kept, for one whose history is over
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping

from benchmarks.job import Stopwatch, emit
from benchmarks.redis.asked import asked
from benchmarks.redis.library import Library
from benchmarks.redis.wire import Wire
from benchmarks.redis.workers import log, workers

LOOK_EVERY = 0.005
PATIENCE = 180.0
NOTED = 200
WARM = 20
PAUSE = 0.01
"""Seconds that a worker has to become idle again, after a job has begun."""
FORGOTTEN = 5.0
"""Seconds after a history is over in which a library or the server may remove it."""


def main(library: Library) -> None:
    """Measure the phases that are asked for, and print the outcome."""
    wire, figures = Wire(asked().url), dict[str, float]()
    for phase in asked().phases:
        figures |= PHASES[phase](library, wire)
    emit(library.version, library.settings, figures)


def enqueue(library: Library, wire: Wire) -> dict[str, float]:
    sender, jobs, many = library.sender, asked().jobs, asked().many
    figures = {"one_by_one": jobs / sender.one_by_one(jobs), "concurrent": many / sender.concurrent(many)}
    if (seconds := sender.bulk(many)) is not None:
        figures["bulk"] = many / seconds
    wire.ask("FLUSHALL")
    return figures


def process(library: Library, wire: Wire) -> dict[str, float]:
    return {"processed": emptied(library, wire, 1)}


def two(library: Library, wire: Wire) -> dict[str, float]:
    return {"processed_by_2": emptied(library, wire, 2)}


def emptied(library: Library, wire: Wire, number: int) -> float:
    """Jobs per second of so many worker processes on a queue that is filled."""
    fill(library, asked().many)
    filled = library.left(wire)
    assert filled >= asked().many, f"of {asked().many} jobs {filled} wait"
    with workers(library, number):
        reached(wire, library, int(0.75 * filled))
        watch, counted = Stopwatch(), library.left(wire)
        reached(wire, library, 0)
        return watch.rate(counted)


def both(library: Library, wire: Wire) -> dict[str, float]:
    with workers(library, 1):
        fill(library, 1)
        reached(wire, library, 0)
        watch, jobs = Stopwatch(), asked().jobs
        library.sender.one_by_one(jobs)
        reached(wire, library, 0)
        return {"both": watch.rate(jobs)} | latency(library)


def latency(library: Library) -> dict[str, float]:
    """Milliseconds from the call that sends until the job begins, of a worker that has nothing else to do."""
    began, sent = asked().began, itertools.count(1)
    began.touch()

    def begun() -> None:
        number = next(sent)
        until(lambda: began.read_bytes().count(b"\n") == number, f"{number} jobs have begun")
        time.sleep(PAUSE)  # so that the worker is idle again

    library.sender.noted(WARM + NOTED, begun)
    passed = [int(line) / 1e6 for line in began.read_text().splitlines()[WARM:]]
    cuts = statistics.quantiles(passed, n=100)
    return {"start_p50_ms": cuts[49], "start_p99_ms": cuts[98]}


def memory(library: Library, wire: Wire) -> dict[str, float]:
    jobs, keep = asked().jobs, asked().keep
    assert keep is not None, "memory is measured with --keep"
    with workers(library, 1):  # what a library needs once is there afterwards
        fill(library, 1)
        reached(wire, library, 0)
    empty = wire.memory()
    fill(library, jobs)
    waiting = wire.memory()
    with workers(library, 1):
        reached(wire, library, 0)
    finished, watch = wire.memory(), Stopwatch()  # without workers, as before: their connections take memory too
    with workers(library, 1):
        while watch.seconds < keep + FORGOTTEN:
            time.sleep(1)  # the history goes by time alone
        library.tidy()
    found = {"waiting": waiting, "finished": finished, "expired": wire.memory()}
    return {f"bytes_{name}": (used - empty) / jobs for name, used in found.items()}


PHASES: Mapping[str, Callable[[Library, Wire], dict[str, float]]] = {
    "enqueue": enqueue,
    "process": process,
    "two": two,
    "both": both,
    "memory": memory,
}


def fill(library: Library, jobs: int) -> None:
    """Send them in the fastest way there is."""
    if library.sender.bulk(jobs) is None:
        library.sender.one_by_one(jobs)


def reached(wire: Wire, library: Library, left: int) -> None:
    """Wait until no more than so many jobs are left."""
    until(lambda: library.left(wire) <= left, f"no more than {left} jobs are left")


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            said = log().read_text(errors="replace")[-1500:] if log().exists() else ""
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}\n{said}")
        time.sleep(LOOK_EVERY)  # peers tell nobody of it
