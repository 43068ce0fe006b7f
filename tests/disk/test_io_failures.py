"""Every call to the disk fails once, in every way: acknowledged appends are there at once, after reopening, and after
a power cut; nothing hangs; the error is one a caller can act on; and the next append goes well.
"""

import random
from itertools import count

import pytest

from holdfast.errors import BackendError, QueueFull
from tests.disk.courses import Course, check_repeat
from tests.disk.crashes import Platter
from tests.disk.failing import CALLS, WAYS, FailingDisk, Failure
from tests.disk.history import Acked, Dropping, Flushed, Offered, Settled, body, judge, told
from tests.disk.partitions import ByHand, columns, found, opened, rebooted
from tests.disk.simulated import Note, SimulatedDisk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODES = ("always", "always", "interval", "os")
"""How each life is synced at first; then as the next one is. Every other one dies of the failure."""
LIVES = len(MODES)
IMAGES = 2
"""Disks looked at that a power cut may leave."""
NOTHING = Failure("", 0, "")
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
    start, nodes = disk.image(), dict(disk.names)
    course = Course(disk, random.Random(seed), "q")
    try:
        live(course, MODES[seed:] + MODES[:seed], dies=(seed + failure.nth) % 2 == 0)
    except (BackendError, QueueFull) as error:
        course.errors.append(error)
    disk.abandon()
    happened, disk.failure = disk.happened, NOTHING
    where = failure, seed, course.errors

    reopened(SimulatedDisk(disk.image()), facts_of(disk), where, power=False)
    cut(disk, start, nodes, where)
    reopened(disk, facts_of(disk), where, power=False)
    cut(disk, start, nodes, where)
    assert failure.way == "ENOSPC" or not any(isinstance(error, QueueFull) for error in course.errors), course.errors
    return happened


def reopened(disk, facts, where, *, power):
    """Open what is left, judge it, and append; the process dies then. What readers were shown counts from here on."""
    partition = opened(disk, epoch=9, upkeep=ByHand())
    left = found(disk)
    wrong = judge(told([*KNOWN, *facts], power=power), left)
    assert wrong == [], (where, wrong)
    check_repeat(partition, facts, where)
    disk.note(Settled(tuple(left.messages)))
    last = (body("last", 0),)
    disk.note(Offered(last))
    disk.note(Acked(partition.append(columns(last)).offset, last))
    disk.abandon()


def cut(disk, start, nodes, where):
    """Cut the power, and judge some of what that may leave."""
    platter, facts = Platter(start, nodes), facts_of(disk)
    for step in disk.trace:
        platter.follow(step)
    for image in platter.images(random.Random(len(disk.trace)), IMAGES):
        reopened(SimulatedDisk(rebooted(image)), facts, where, power=True)


def facts_of(disk):
    """Return what was noted in the trace of a disk."""
    return [step.fact for step in disk.trace if isinstance(step, Note)]


def live(course, modes, *, dies):
    """Do each thing a partition can do, and read; what failed is done again, an append with other messages.

    Who ``dies`` does nothing again.
    """
    for mode in modes[:2]:
        open_again(course, mode, dies)
        for size in (0, 10, 6000):
            append_again(course, size, dies)
        produce_again(course, dies)
        course.partition.roll()
        produce_again(course, dies)
        append_again(course, 100, dies)
        course.partition.flush()
        course.found()
        course.disk.note(Dropping(course.partition.next))
        course.partition.drop_until(course.partition.next)
        append_again(course, 100, dies)
        course.partition.close()
        course.disk.note(Flushed())


def open_again(course, mode, dies):
    try:
        course.open(sync=mode)
    except (BackendError, QueueFull) as error:
        course.errors.append(error)
        assert course.disk.descriptors == 0, "a partition that cannot be opened leaves files open"
        if dies:
            raise
        course.open(sync=mode)


def append_again(course, size, dies):
    again(course, lambda: course.append(course.writer.bodies(size=size)), dies)


def produce_again(course, dies):
    again(course, course.produce, dies)


def again(course, act, dies):
    for _ in range(2):
        before = len(course.errors)
        act()
        if len(course.errors) == before:
            return
        if dies:
            raise course.errors.pop()
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
