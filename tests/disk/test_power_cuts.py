"""Power cut behind every step of a partition's life: what was acknowledged is there, and nothing that was not offered.

The disk is simulated, so that thousands of states are looked at: see ``crashes`` for what a power cut may leave.
"""

import random
from contextlib import suppress

import pytest

from holdfast.errors import BackendError
from holdfast.message import Level
from tests.disk.courses import Course, check_repeat
from tests.disk.crashes import crashes
from tests.disk.failing import FailingDisk, Failure
from tests.disk.history import Acked, Flushed, Offered, Settled, judge, told
from tests.disk.layers import seeds, share
from tests.disk.partitions import ByHand, Writer, columns, found, opened, rebooted
from tests.disk.simulated import Image, Note, SimulatedDisk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

STEPS = 12
MOST = 6
"""Disks looked at behind each step of a trace."""
FAILING = 24
"""One of so many syncs fails, if a life comes to it."""
AGAIN = 0.1
"""How often the power is cut a second time, during recovery and the first append after it."""
ON = 0.25
"""How often it is seen that appends go on."""


@share(80, 4_000, parts=4)
def test_what_was_acknowledged_survives_a_power_cut_at_any_instant(cases, record_property):
    states = 0
    for seed in seeds(cases, record_property):
        draw = random.Random(seed)
        trace, start = lived(draw)
        for crash in crashes(trace, draw, MOST, start, {}):
            states += survives(crash, draw, f"seed {seed}, step {crash.at}")
    record_property("states", states)
    assert states >= 250 * cases.count, "the courses have become too short"


def lived(draw):
    """Return the trace of a random life, in which two syncs may fail, and the disk it began with."""
    disk = FailingDisk(Failure("sync", draw.randint(1, FAILING), "EIO", again=draw.randint(0, FAILING)))
    start = disk.image()
    course = Course(disk, draw)
    course.open_again()
    for _ in range(STEPS):
        course.step()
    with suppress(BackendError):
        course.close()
    return disk.trace, start


@share(4, 400)
def test_small_appends_over_room_made_ahead_survive_it_too(cases, record_property):
    states = roomy = 0
    for seed in seeds(cases, record_property):
        draw = random.Random(seed)
        disk = SimulatedDisk()
        start, course = disk.image(), Course(disk, draw, sync="always", segment_bytes=1 << 15)
        course.open()
        for _ in range(40):
            course.append(course.writer.bodies(size=200))
        course.close()
        for crash in crashes(disk.trace, draw, MOST, start, {}):
            roomy += any(name.endswith(".log") and not any(all[-512:]) for name, all in crash.image.files.items())
            states += survives(crash, draw, f"seed {seed}, step {crash.at}")
    record_property("states", states)
    assert roomy > states // 4, "the courses make no room"


def test_segments_that_go_at_once_go_from_the_front_so_that_none_is_called_damaged():
    """Each was given up after a failed sync, so that only the header behind it tells where it ends."""
    disk = FailingDisk(Failure("sync", 0, "EIO"))
    start, partition = disk.image(), opened(disk, upkeep=ByHand(), sync="always")
    for number in range(4):
        partition.append(columns((b"kept/%d/" % number,)))
        disk.failure = Failure("sync", disk.calls["sync"] + 1, "EIO")
        with pytest.raises(BackendError):
            partition.append(columns((b"lost/%d/" % number,)))
    partition.append(columns((b"kept/4/",)))
    before = len(disk.trace)
    partition.drop_until(partition.segments()[-2].next)

    left, reports = set(), []
    for crash in crashes(disk.trace, random.Random(1), 20, start, {}):
        if crash.at >= before:
            after = SimulatedDisk(rebooted(crash.image))
            opened(after, upkeep=ByHand(), report=reports.append)
            left.add(tuple(bodies_of(after)))

    assert reports == []
    bodies = [b"kept/%d/" % number for number in range(5)]
    assert left == {tuple(bodies[first:]) for first in range(5)}


def bodies_of(disk):
    """Return what a reader gets, all of it."""
    seen = found(disk)
    assert seen.corrupt == []
    return [body for _, body in seen.messages]


def survives(crash, draw, where):
    """Look at one disk after a power cut, and at times at one after another; return how many were looked at."""
    disk = SimulatedDisk(rebooted(crash.image))
    nodes, start, chance = dict(disk.names), disk.image()._replace(ghosts=crash.image.ghosts), draw.random()
    partition = recovered(disk, crash.facts, draw, where)
    if chance < ON:
        goes_on(disk, partition, crash.facts, draw, where)
    if chance >= AGAIN:
        return 1
    second = draw.choice(list(crashes(disk.trace, draw, 2, start, nodes)))
    left = SimulatedDisk(rebooted(second.image))
    recovered(left, [*crash.facts, *second.facts], draw, f"{where}, then step {second.at}")
    return 2


def recovered(disk, facts, draw, where):
    """Open what is left, and judge it."""
    partition = opened(disk, epoch=9, upkeep=ByHand(), sync=draw.choice(("always", "interval", "os")))
    left = found(disk)
    disk.note(Settled(tuple(left.messages)))
    wrong = judge(told(facts), left)
    assert wrong == [], f"{where}: {wrong}"
    return partition


def goes_on(disk, partition, facts, draw, where):
    """Append, repeat what a producer appended last, close, and judge what is there then."""
    check_repeat(partition, facts, where)
    bodies = Writer(f"after-{len(facts)}", draw).bodies()
    disk.note(Offered(bodies))
    placed = partition.append(columns(bodies))
    disk.note(Acked(placed.offset, bodies, placed.level is Level.SYNCED))
    partition.close()
    disk.note(Flushed())

    wrong = judge(told([*facts, *notes(disk)]), found(disk))
    assert wrong == [], f"{where}, and then: {wrong}"
    assert disk.descriptors == 0, where


def notes(disk):
    """Return what was noted in the trace of a disk."""
    return [step.fact for step in disk.trace if isinstance(step, Note)]


def test_the_judge_sees_a_disk_that_lies_about_syncing():
    """What would pass with nothing lost proves nothing: with syncs that do nothing, acknowledged messages are lost."""
    draw = random.Random(1)
    disk = SimulatedDisk()
    course = Course(disk, draw, sync="always")
    course.open()
    for number in range(5):
        course.append(course.writer.bodies(size=100 + number))
    empty = Image({}, frozenset({"/disk", "/disk/0"}))

    left = SimulatedDisk(empty)
    opened(left, upkeep=ByHand()).close()
    assert {finding.rule for finding in judge(told(notes(disk)), found(left))} == {"lost"}
