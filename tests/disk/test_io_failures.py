"""Every call to the disk fails once, in every way: acknowledged appends are there at once, after reopening, and after
a power cut; nothing hangs; the error is one a caller can act on; and the next append goes well.
"""

import random
from itertools import count

import pytest

from holdfast.errors import BackendError, QueueFull
from tests.disk.courses import Course
from tests.disk.crashes import Platter
from tests.disk.failing import CALLS, WAYS, FailingDisk, Failure
from tests.disk.history import Dropping, Flushed, body, judge, told
from tests.disk.partitions import ByHand, columns, found, opened, rebooted
from tests.disk.simulated import Note, SimulatedDisk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LIVES = 4
SHORT = ("read", "write")
"""Calls that may do less than they were asked to."""


@pytest.mark.parametrize("way", WAYS)
def test_whichever_call_fails_acknowledged_messages_are_kept(way, record_property):
    cases = 0
    for seed in range(LIVES):
        for call in SHORT if way == "short" else CALLS:
            for nth in count(1):
                if not kept(Failure(call, nth, way), seed):
                    break
                cases += 1
    record_property("cases", cases)
    record_property("seeds", f"0 to {LIVES - 1}")
    assert cases > 50 * LIVES, "the lives have become too plain"


def kept(failure, seed):
    """Live a life in which one call fails; return whether it came to that."""
    disk = FailingDisk(failure, REMAINS)
    platter, facts = Platter(disk.image(), dict(disk.names)), []
    course = Course(disk, random.Random(seed), "q", sync="always")
    try:
        live(course)
    except (BackendError, QueueFull) as error:
        course.errors.append(error)
    disk.abandon()

    for step in disk.trace:
        platter.follow(step)
        if isinstance(step, Note):
            facts.append(step.fact)
    for left in (disk.image(), rebooted(platter.safe())):
        again = SimulatedDisk(left)
        opened(again, epoch=9, upkeep=ByHand()).close()
        wrong = judge(told([*KNOWN, *facts]), found(again))
        assert wrong == [], (failure, seed, wrong, course.errors)
    assert failure.way == "ENOSPC" or not any(isinstance(error, QueueFull) for error in course.errors), course.errors
    return disk.happened


def live(course):
    """Do each thing a partition can do, and read; each failed append is made again, with other messages."""
    for _ in range(2):
        open_again(course)
        for size in (0, 10, 6000):
            append_again(course, size)
        course.partition.roll()
        append_again(course, 100)
        course.partition.flush()
        course.found()
        course.disk.note(Dropping(course.partition.next))
        course.partition.drop_until(course.partition.next)
        append_again(course, 100)
        course.partition.close()
        course.disk.note(Flushed())


def open_again(course):
    try:
        course.open()
    except (BackendError, QueueFull) as error:
        course.errors.append(error)
        assert course.disk.descriptors == 0, "a partition that cannot be opened leaves files open"
        course.open()


def append_again(course, size):
    for _ in range(2):
        before = len(course.errors)
        course.append(course.writer.bodies(size=size))
        if len(course.errors) == before:
            return
    raise AssertionError(f"failed twice after one failure: {course.errors}")


def make_remains():
    """Return a disk with a torn tail, as a power cut leaves it, and what was told of it."""
    disk = SimulatedDisk()
    course = Course(disk, random.Random(3), sync="always")
    course.open()
    for _ in range(6):
        course.append(course.writer.bodies())
    facts = [step.fact for step in disk.trace if isinstance(step, Note)]
    course.partition.write(columns((body("torn", 0, 500),)))
    image = disk.image()
    files = {name: torn(content) if name.endswith(".log") else content for name, content in image.files.items()}
    return image._replace(files=files), facts


def torn(content):
    """Return a segment whose last batch is not whole, and is followed by the room that was made for more."""
    written = content.rstrip(b"\0")
    return written[:-40] + bytes(max(40, len(content) - len(written)))


REMAINS, KNOWN = make_remains()
