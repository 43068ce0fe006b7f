"""What a worker process publishes for whoever outlives it."""

import os
from pathlib import Path

import msgspec
import pytest

from holdfast.clock import SYSTEM
from holdfast.delivery import Delivery, Receipt
from holdfast.heartbeat import gone_holders, this_process
from holdfast.worker import published as published_module
from holdfast.worker.published import Published, read_published


def job(job_id, token=1, queue="q"):
    return Delivery(queue=queue, id=job_id, token=token, attempt=1, body=b"")


@pytest.fixture
def published(clock):
    published = Published(clock)
    published.open(places=3)
    yield published
    published.close()


def test_what_has_started_and_not_ended_can_be_read(published):
    first, second, third = job("first"), job("second", token=7), job("third")
    for one in (first, second, third):
        published.begin(one)
    published.end(first)
    published.begin(fourth := job("fourth"))
    published.end(third)

    started = read_published(published.path).started

    assert set(started) == {second.receipt, fourth.receipt}


def test_places_are_used_again(published):
    for number in range(1000):
        published.begin(one := job(str(number)))
        assert read_published(published.path).started == (one.receipt,)
        published.end(one)

    assert read_published(published.path).started == ()


def test_the_longest_names_fit(published):
    longest = job("\N{SNOWMAN}" * 255, token=2**62, queue="\N{GRINNING FACE}" * 255)
    published.hold(holder := "\N{GRINNING FACE}" * 255 + "#0123456789ab")
    published.begin(job("before"))
    published.begin(longest)

    seen = read_published(published.path)

    assert seen.holder == holder
    assert Receipt(longest.queue, longest.id, longest.token) in seen.started


def test_it_tells_how_the_worker_is(published, clock):
    clock.move(5)
    published.tick()
    clock.move(1)
    published.beaten()
    published.hold("me#1")
    published.show("ready")

    seen = read_published(published.path)

    assert (seen.holder, seen.condition) == ("me#1", "ready")
    assert seen.beaten - seen.tick == 1000
    published.hold("")
    assert read_published(published.path).holder == ""


def test_without_a_file_notes_are_lost_and_nothing_is_read():
    published = Published()

    published.begin(one := job("one"))
    published.end(one)
    published.close()

    assert read_published(published.path) is None


@pytest.mark.parametrize("content", [b"", b"HOLDFST", b"HOLDFST1", b"HOLDFST1" + b"\xff" * 5000, os.urandom(5000)])
def test_what_is_no_such_file_is_not_read(tmp_path, content):
    path = tmp_path / "published"
    path.write_bytes(content)

    assert read_published(str(path)) is None


def test_it_is_gone_when_the_worker_has_ended(published):
    path = published.path
    published.close()
    published.close()

    assert read_published(path) is None


def left_by(folder, pid, start, seconds_ago):
    """Return a file as a process would have left it that was well for the last time so long ago."""
    tick = SYSTEM.boot() - int(seconds_ago * 1000)
    file = folder / f"holdfast-{pid}-{start}-abc"
    file.write_bytes(published_module.MAGIC + tick.to_bytes(8, "little") + bytes(published_module.HEADER))
    return file


def test_what_dead_processes_left_that_nobody_came_for_goes_when_another_opens_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(published_module, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(published_module, "KEPT_MS", 30_000)
    me, nobody = this_process(), 2**22 + 1  # which no pid is
    left_by(tmp_path, nobody, 1, seconds_ago=31)
    left_by(tmp_path, me.pid, me.pid_start + 1, seconds_ago=31)  # whose pid is in use again
    rest = {
        left_by(tmp_path, nobody, 2, seconds_ago=10),  # somebody may come for it
        left_by(tmp_path, me.pid, me.pid_start, seconds_ago=31),  # it lives, whatever keeps it from its tick
        tmp_path / "holdfast-of-somebody-else",
        tmp_path / f"holdfast-{nobody}-1-else",
    }
    for other in rest:
        other.touch()

    published = Published()
    published.open(places=3)

    assert set(tmp_path.iterdir()) == {*rest, Path(published.path)}
    published.close()


def test_a_dead_process_is_left_to_its_supervisor_while_that_lives():
    dead = msgspec.structs.replace(this_process(), id="dead#1", pid_start=1)
    me = this_process()
    supervised = msgspec.structs.replace(dead, supervisor=me.pid, supervisor_start=me.pid_start)
    orphan = msgspec.structs.replace(dead, supervisor=me.pid, supervisor_start=1)

    assert gone_holders([dead, supervised, orphan]) == [dead, orphan]
