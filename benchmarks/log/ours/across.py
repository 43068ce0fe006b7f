"""From the call of `append` in one process until `poll` returns the message in another, one message at a time."""

import multiprocessing
import time
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.job import Request, emit, request
from benchmarks.log.messages import quantile
from benchmarks.log.ours.places import LOG, VERSION, log_in
from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.logged import Columns, Start
from holdfast.stores import open_logs

PAUSE = 0.02
"""Seconds between two messages, so that the reader is waiting."""


def read(url: str, messages: int, ready: Connection) -> None:
    """Poll them all, and send back when each arrived."""
    logs = open_logs(parse_url(url))
    holder = HolderInfo(id="reader#1", ttl=60.0, queues=(), kinds=())
    member = logs.join(LOG, "g", holder, start=Start())
    member.poll(limit=1, wait=0.5)
    ready.send("ready")
    arrived: list[int] = []
    while len(arrived) < messages:
        chunks = member.poll(limit=100, wait=10.0)
        now = time.monotonic_ns()
        arrived += [now] * sum(map(len, chunks))
    ready.send(arrived)
    member.leave()
    logs.close()


def main() -> None:
    asked: Request = request()
    logs = log_in(asked)
    url = f"disk:{Path(asked.directory)}/data-always"
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    reader = multiprocessing.get_context("spawn").Process(target=read, args=(url, asked.jobs, theirs))
    reader.start()
    assert ours.recv() == "ready"
    begun = []
    for number in range(asked.jobs):
        time.sleep(PAUSE)
        begun.append(time.monotonic_ns())
        logs.append(LOG, 0, Columns([str(number).encode()]))
    arrived = ours.recv()
    reader.join()
    logs.close()
    taken = [(end - begin) / 1e6 for begin, end in zip(begun, arrived, strict=True)]
    emit(VERSION, {"pause": PAUSE}, {"p50_ms": quantile(taken, 0.5), "p99_ms": quantile(taken, 0.99)})


if __name__ == "__main__":
    main()
