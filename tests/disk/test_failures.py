"""Writes and syncs that fail, disks that are full, and readers beside all that."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.errors import BackendError, Closed, QueueFull
from holdfast.logged import Columns, Producer
from holdfast.stores.disk.appends import Append, Wish
from holdfast.stores.disk.files import Buffer, Files
from tests.disk.conftest import Disk
from tests.disk.partitions import ByHand


class FaultyFiles(Files):
    """Real files, but that a test puts what fails in their way."""

    def __init__(self) -> None:
        self.on_sync: Callable[[int], None] | None = None
        self.on_write: Callable[[int, int], int | None] | None = None
        self.synced: list[int] = []

    def sync(self, fd: int) -> None:
        self.synced.append(os.fstat(fd).st_ino)
        if self.on_sync is not None:
            self.on_sync(fd)
        super().sync(fd)

    def write(self, fd: int, pieces: Sequence[Buffer], at: int) -> int:
        name = Path(f"/proc/self/fd/{fd}").readlink().suffix
        if self.on_write is None or name != ".log":
            return super().write(fd, pieces, at)
        allowed = self.on_write(fd, at)
        data = b"".join(pieces)
        return super().write(fd, [data if allowed is None else data[:allowed]], at)


def failing(number: int = 1, code: int = errno.EIO) -> Callable[..., None]:
    """Return what fails the first ``number`` times."""
    left = [number]

    def fail(*_: object) -> None:
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code))

    return fail


def test_a_failed_sync_is_told_and_appends_go_on_in_a_new_segment(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    files.on_sync = failing()

    with pytest.raises(BackendError) as told:
        partition.append(Columns([b"b"]))

    assert told.value.outcome_unknown
    before = len(files.synced)
    placed = partition.append(Columns([b"c"]))
    assert placed.offset == 2, "what may come back has an offset of its own"
    old = disk.logs()[0].stat().st_ino
    assert old not in files.synced[before:], "a second sync may say that all is well"
    assert disk.bodies() == [b"a", b"c"]
    partition.close()
    assert disk.open().next == 3
    assert disk.bodies() == [b"a", b"c"]
    assert disk.happened() == ["failed sync"]


def test_what_came_back_after_a_failed_sync_and_a_power_cut_stays_away(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    before = disk.logs()[0]
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]))
    unsynced = before.read_bytes()
    partition.append(Columns([b"c"]))
    before.write_bytes(unsynced)  # as if neither the cut nor the footer had reached the disk, but the append had

    disk.open()

    assert disk.bodies() == [b"a", b"c"]


def test_all_waiters_of_a_group_hear_of_a_failed_sync(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    at_disk, go_on = threading.Event(), threading.Event()
    told: list[BackendError] = []

    def hold(_: int) -> None:
        at_disk.set()
        assert go_on.wait(10)
        raise OSError(errno.EIO, "no")

    def append() -> None:
        try:
            partition.append(Columns([b"x"]))
        except BackendError as error:
            told.append(error)

    files.on_sync = hold
    first = threading.Thread(target=append)
    first.start()
    assert at_disk.wait(10)
    files.on_sync = None
    go_on.set()
    first.join(10)
    files.on_sync = failing(10)
    others = [threading.Thread(target=append) for _ in range(4)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(10)
    assert len(told) == 5
    assert len(set(map(id, told))) == 5, "each gets an error of his own"
    assert disk.bodies() == []


def test_a_producer_may_repeat_what_a_failed_sync_lost(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"a"]), Producer(1, 0, 0))
    assert not partition.append(Columns([b"a"]), Producer(1, 0, 0)).duplicate
    assert partition.append(Columns([b"a"]), Producer(1, 0, 0)).duplicate
    assert disk.bodies(1) == [b"a"]


def test_writes_that_a_failed_sync_lost_are_told_with_the_next_call(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.write(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.flush()
    with pytest.raises(BackendError, match="lost"):
        partition.write(Columns([b"b"]))
    assert partition.append(Columns([b"c"])).offset == 1
    assert disk.bodies(1) == [b"c"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("went", [0, 1, 70])
def test_a_full_disk_refuses_appends_serves_reads_and_is_left_by_itself(disk: Disk, code: int, went: int) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    size = disk.logs()[0].stat().st_size
    calls: list[int] = []

    def full(_: int, at: int) -> int:
        calls.append(at)
        if went and len(calls) % 2:
            return went
        raise OSError(code, os.strerror(code))

    files.on_write = full
    for _ in range(2):
        with pytest.raises(QueueFull):
            partition.append(Columns([b"b"]), Producer(1, 0, 0))
        assert disk.logs()[0].stat().st_size == size
        assert disk.bodies() == [b"a"]
    files.on_write = None
    assert partition.append(Columns([b"c"]), Producer(1, 0, 0)).offset == 1
    assert disk.bodies() == [b"a", b"c"]
    assert disk.happened() == ["full", "resumed"]


def test_short_writes_and_interrupted_ones_are_finished(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    calls: list[int] = []

    def short(_: int, at: int) -> int:
        calls.append(at)
        if len(calls) % 3 == 0:
            raise InterruptedError(errno.EINTR, "again")
        return 7

    files.on_write = short
    partition.append(Columns([b"abc" * 50, b"", b"d" * 11]))
    assert disk.bodies() == [b"abc" * 50, b"", b"d" * 11]


def test_a_write_that_fails_for_another_reason_leaves_the_segment(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]))
    files.on_write = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]))
    partition.append(Columns([b"c"]))
    assert len(disk.logs()) == 2
    assert disk.bodies() == [b"a", b"c"]


def test_a_disk_that_is_full_at_the_end_of_a_segment_keeps_it(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files, segment_bytes=4096)
    partition.append(Columns([bytes(3000)]))
    files.on_write = failing(1, errno.ENOSPC)
    with pytest.raises(QueueFull):
        partition.append(Columns([bytes(3000)]))
    files.on_write = lambda _, at: failing(1, errno.ENOSPC)() if at == 0 else None  # type: ignore[func-returns-value]
    with pytest.raises(QueueFull):
        partition.append(Columns([bytes(3000)]))
    files.on_write = None
    assert partition.append(Columns([bytes(3000)])).offset == 1
    assert len(disk.bodies()) == 2
    assert partition.segments()[0].sealed


def test_the_reserve_is_given_back_to_end_in_good_order(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files, reserve_bytes=1 << 20)
    reserve = disk.directory / "reserve"
    assert reserve.stat().st_blocks * 512 >= 1 << 20
    partition.append(Columns([b"a"]))

    def full_with_reserve(_: int, at: int) -> None:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "full")

    files.on_write = full_with_reserve
    with pytest.raises(QueueFull):
        partition.append(Columns([b"b"]))
    partition.close()
    assert not reserve.exists()
    disk.open(reserve_bytes=1 << 20)
    assert len(disk.logs()) == 1, "it was closed in good order"
    assert reserve.exists()


def test_readers_see_only_what_is_durable_and_all_of_it_while_it_grows(disk: Disk) -> None:
    partition = disk.open(segment_bytes=8192)
    reader, seen = disk.reader(), list[int]()

    def read() -> None:
        while len(seen) < 500:
            for chunk in reader.read(len(seen), limit=50, max_bytes=1 << 20):
                assert chunk.base == len(seen)
                assert chunk.next <= partition.durable
                seen.extend(int(body) for body in chunk.bodies)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(250):
        partition.append(Columns([b"%d" % (2 * number), b"%d" % (2 * number + 1)]))
    thread.join(10)
    assert seen == list(range(500))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_who_waits_with_one_that_is_interrupted_is_not_told_that_all_is_done(disk: Disk) -> None:
    """A flush in the group of an append that a signal ended returned as if it had synced."""
    files = FaultyFiles()
    partition = disk.open(files, sync="os")
    partition.append(Columns([b"a"]))
    partition._commit._carry_out = interrupted  # as a signal in the thread of the one who carries it out
    told: list[BaseException] = []

    def call(act: Callable[[], object]) -> None:
        try:
            act()
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=call, args=(partition.flush,)) for _ in range(3)]
    with partition._commit._disk:  # somebody is at it
        for thread in threads:
            thread.start()
        while partition._commit._next is None or len(partition._commit._next.items) < 3:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join(10)
    partition._commit._carry_out = partition._carry_out
    assert sorted(type(error).__name__ for error in told) == ["BackendError", "BackendError", "KeyboardInterrupt"]


@pytest.mark.parametrize(("sync", "times"), [("always", 1), ("interval", 2), ("os", 2)])
def test_a_loss_that_the_upkeep_meets_first_is_still_told(disk: Disk, sync: str, times: int) -> None:
    files = FaultyFiles()
    partition = disk.open(files, sync=sync, interval=60.0)
    partition.share(ByHand())
    partition.write(Columns([b"a"]))
    files.on_sync = failing(times)
    disk.clock.move(100)
    partition.upkeep()
    partition._touched += 1_000_000
    disk.clock.move(1000)
    partition._submit(Wish(partition._mark))
    with pytest.raises(BackendError, match="sync") as told:
        partition.flush()
    assert told.value.outcome_unknown
    partition.flush()
    assert partition.append(Columns([b"b"])).offset == 1
    assert disk.bodies(1) == [b"b"]


@pytest.mark.parametrize("sync", ["interval", "os"])
def test_what_readers_had_before_a_sync_failed_is_written_anew_and_kept(disk: Disk, sync: str) -> None:
    """The next segment said that it had been on the disk, and a power cut showed that it was not: damage, a hole."""
    files = FaultyFiles()
    partition = disk.open(files, sync=sync, interval=60.0)
    partition.append(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.flush()
    written = list[int]()
    files.on_write = lambda _, at: written.append(at)  # type: ignore[func-returns-value]

    partition.flush()

    assert written[0] == 64, "the kernel takes the pages of a failed sync for clean"
    assert partition.append(Columns([b"b"])).offset == 1
    assert disk.bodies() == [b"a", b"b"]


def test_what_readers_had_before_a_sync_failed_waits_for_room_on_a_full_disk(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files, sync="os")
    partition.append(Columns([b"a"]))
    files.on_sync = failing(2, errno.ENOSPC)
    with pytest.raises(BackendError):
        partition.flush()
    with pytest.raises(QueueFull):
        partition.append(Columns([b"b"]))
    assert partition.append(Columns([b"c"])).offset == 1
    assert disk.bodies() == [b"a", b"c"]


def test_a_write_says_what_was_lost_before_also_when_the_upkeep_met_it(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.write(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.flush()
    partition._submit(Wish(partition._mark))
    with pytest.raises(BackendError, match="lost"):
        partition.write(Columns([b"b"]))
    assert partition.write(Columns([b"b"])) == 1


def test_a_close_says_that_what_was_appended_could_not_be_synced(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files, sync="interval", interval=60.0)
    partition.append(Columns([b"a"]))
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.flush()
    with pytest.raises(BackendError):
        partition.close()
    partition.close()


def test_a_close_says_that_what_was_written_first_after_an_opening_could_not_be_synced(disk: Disk) -> None:
    disk.open().close()
    files = FaultyFiles()
    partition = disk.open(files, sync="os")
    partition.write(Columns([b"a"]))
    files.on_sync = failing()

    with pytest.raises(BackendError, match="may or may not be stored"):
        partition.close()


def test_what_is_stored_is_not_refused_because_the_next_segment_has_no_room(disk: Disk) -> None:
    """The appends of a group that lie in the segment that ended are safe, and said to be: else they came twice."""
    for footer in (False, True):
        files = FaultyFiles()
        partition = disk.open(files, segment_bytes=4096)
        partition.roll()
        before, segments = partition.next, len(disk.logs())
        first, second = (Append(Columns([bytes(2500)]), Producer(7, footer, at), "none") for at in (0, 1))
        size = partition._live.segment.position

        def full(_: int, at: int, begin: int = size, footer: bool = footer) -> None:
            if at == 0 or (footer and at >= begin + 2500):
                raise OSError(errno.ENOSPC, "full")

        files.on_write = full
        partition._carry_out([first, second])
        files.on_write = None

        assert first.error is None
        assert first.result is not None
        assert first.result.offset == before
        assert isinstance(second.error, QueueFull)
        assert partition.durable == before + 1
        assert partition.append(Columns([bytes(2500)]), Producer(7, footer, 0)).duplicate
        assert partition.append(Columns([bytes(2500)]), Producer(7, footer, 1)).offset == before + 1
        assert len(disk.logs()) == segments + 1
        partition.close()


def test_a_producer_is_known_by_what_a_failed_sync_left_readable(disk: Disk) -> None:
    """With an interval it stays, for readers had it before: its repeat was stored a second time."""
    files = FaultyFiles()
    partition = disk.open(files, sync="interval", interval=60.0, interval_bytes=1)
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"a"]), Producer(1, 0, 0))
    assert partition.append(Columns([b"a"]), Producer(1, 0, 0)).duplicate
    assert disk.bodies() == [b"a"]
    partition.flush()


def test_a_failed_sync_of_a_segment_that_has_nothing_else_forgets_no_producers(disk: Disk) -> None:
    files = FaultyFiles()
    partition = disk.open(files)
    partition.append(Columns([b"a"]), Producer(1, 0, 0))
    partition.roll()
    files.on_sync = failing()
    with pytest.raises(BackendError):
        partition.append(Columns([b"b"]), Producer(1, 0, 1))
    assert partition.append(Columns([b"a"]), Producer(1, 0, 0)).duplicate
    assert not partition.append(Columns([b"b"]), Producer(1, 0, 1)).duplicate


def test_nothing_is_dropped_once_it_is_closed(disk: Disk) -> None:
    """It wrote to the descriptor of a file that was closed, which may by then be that of another."""
    partition = disk.open()
    partition.append(Columns([b"a"]))
    partition.roll()
    partition.close()
    with pytest.raises(Closed):
        partition.drop_until(1)
    assert disk.bodies() == [b"a"]
