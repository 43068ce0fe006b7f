"""Processes that all end the same holder while others settle what it ran: each job is taken once and charged once."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

import pytest

from holdfast.config import parse_url
from holdfast.delivery import HolderInfo, State
from holdfast.message import Message
from holdfast.stores import open_store

pytestmark = pytest.mark.slow
QUEUE = "work"
JOBS = 12
SILENT = 0.001
"""A ttl that is over before anybody looks."""
PARTS = ["retire", "retire", "tidy", "beat", "ack", "crash"]

# Does its part of each line that comes: a holder and its receipts. Says how many jobs it took, or which it settled.
PROGRAM = """
import json, sys
from holdfast.config import parse_url
from holdfast.delivery import Ack, Crash, HolderInfo, Receipt
from holdfast.stores import open_store

part, store = sys.argv[2], open_store(parse_url(sys.argv[1]))

def settled(make, receipts):
    return [one.id for one in receipts if store.settle([make(one)]) == []]

parts = {
    "retire": lambda holder, receipts: store.retire(holder, "died", receipts),
    "tidy": lambda holder, receipts: store.tidy().rescued,
    "beat": lambda holder, receipts: store.beat(HolderInfo(id=holder, ttl=60.0)).alive and 0,
    "ack": lambda holder, receipts: settled(Ack, receipts[::3]),
    "crash": lambda holder, receipts: settled(lambda one: Crash(one, "died"), receipts[1::3]),
}
store.queues()
for line in sys.stdin:
    holder, receipts = json.loads(line)
    print(json.dumps(parts[part](holder, [Receipt(*one) for one in receipts])), flush=True)
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def store(url):
    store = open_store(parse_url(url))
    yield store
    store.close()


@pytest.fixture
def parts(url, store):
    """One process for each part, ready to begin."""
    with ExitStack() as exits:
        parts = []
        for part in PARTS:
            command = [sys.executable, "-c", PROGRAM, url, part]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            exits.enter_context(child)
            exits.callback(child.kill)
            parts.append(child)
        yield parts


@pytest.mark.parametrize(
    "rounds", [pytest.param(10, id="10 rounds"), pytest.param(500, id="500 rounds", marks=pytest.mark.long)]
)
def test_of_all_who_end_a_holder_one_takes_its_jobs(store, parts, rounds, record_property):
    first = Counter()
    for number in range(rounds):
        holder = f"dying#{number}"
        store.beat(HolderInfo(id=holder, ttl=SILENT))
        ids = [stored.id for stored in store.send(QUEUE, [Message(body=b"") for _ in range(JOBS)])]
        held = store.lease(QUEUE, holder, holder, limit=JOBS, kinds=("",), max_format=1)
        receipts = [(one.queue, one.id, one.token) for one in held]

        for part in parts:
            part.stdin.write(json.dumps([holder, receipts]) + "\n")
            part.stdin.flush()
        *taken, acked, crashed = [json.loads(part.stdout.readline()) for part in parts]

        first.update(part for part, count in zip(PARTS, taken, strict=False) if count)
        assert sum(count > 0 for count in taken) <= 1, taken
        assert sum(taken) + len(acked) + len(crashed) == JOBS, (taken, acked, crashed)
        for job in (store.get(QUEUE, one) for one in ids):
            assert (job.state is State.DONE) == (job.id in acked)
            assert (job.attempts, len(job.runs)) == (1, 1)
            assert job.crashes <= 1
            assert job.crashes >= (job.id in crashed)
        store.flush(QUEUE, State.READY)
    record_property("who was first", dict(first))
