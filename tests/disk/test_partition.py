"""Appending to a partition and reading it, with everything in good order."""

import threading
from itertools import pairwise

import pytest

from holdfast.errors import BodyTooLarge, Closed, OffsetGone, UsageError
from holdfast.logged import Columns, Producer
from holdfast.message import Level
from holdfast.stores.disk import readable, unpacked
from tests.disk.conftest import Disk
from tests.disk.partitions import ByHand


def test_what_is_appended_is_read_with_keys_headers_and_empty_bodies(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"", b"one", b"two"], [None, b"", b"k"], [b"h", None, None]))
    (chunk,) = disk.reader().read(0, limit=10, max_bytes=100)
    assert (list(chunk.bodies), chunk.base, chunk.time) == ([b"", b"one", b"two"], 0, 1_000_000)
    assert (chunk.keys, chunk.headers) == ([None, b"", b"k"], [b"h", None, None])


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_offsets_rise_by_one_a_message_across_openings(disk: Disk, compression: str) -> None:
    partition = disk.open(compression=compression)
    assert [partition.append(Columns([b"a", b"b"])).offset, partition.append(Columns([b"c"])).offset] == [0, 2]
    partition.close()
    assert disk.open(compression=compression).append(Columns([b"d"])).offset == 3
    assert disk.bodies() == [b"a", b"b", b"c", b"d"]
    assert disk.reports == []


def test_each_mode_says_how_safe_an_append_is(disk: Disk) -> None:
    for sync, level in (("always", Level.SYNCED), ("interval", Level.WRITTEN), ("os", Level.WRITTEN)):
        partition = disk.open(sync=sync)
        assert partition.append(Columns([b"x"])).level is level
        partition.flush()
        partition.close()
    assert disk.bodies() == [b"x"] * 3


def test_an_append_of_nothing_or_of_too_much_is_refused(disk: Disk) -> None:
    partition = disk.open()
    with pytest.raises(UsageError):
        partition.append(Columns([]))
    with pytest.raises(BodyTooLarge):
        partition.append(Columns([bytes(64 << 20)]))
    assert partition.next == 0


def test_segments_end_at_their_size_and_are_read_across(disk: Disk) -> None:
    partition = disk.open(segment_bytes=4096)
    for number in range(50):
        partition.append(Columns([b"%04d" % number * 100]))
    assert len(disk.logs()) > 3
    assert disk.bodies() == [b"%04d" % number * 100 for number in range(50)]
    assert disk.bodies(33) == [b"%04d" % number * 100 for number in range(33, 50)]
    assert [info.sealed for info in partition.segments()][-2:] == [True, False]


def test_a_reader_that_saw_the_tail_before_its_segment_was_sealed_reads_up_to_that_tail(disk: Disk) -> None:
    partition = disk.open(segment_bytes=4096)
    partition.append(Columns([b"seen"]))
    tail = (disk.directory / "tail").read_bytes()
    while len(disk.logs()) == 1:
        partition.append(Columns([b"unseen" * 50]))
    (disk.directory / "tail").write_bytes(tail)

    (chunk,) = disk.reader().read(0, limit=10, max_bytes=1000)
    assert (chunk.next, list(chunk.bodies)) == (1, [b"seen"])


def test_what_is_dropped_is_gone_and_the_rest_is_not(disk: Disk) -> None:
    partition = disk.open(segment_bytes=4096)
    for number in range(30):
        partition.append(Columns([b"%04d" % number * 100]))
    reader = disk.reader()
    reader.read(0, limit=1, max_bytes=1)
    kept = partition.segments()[1].base
    messages, size = partition.drop_until(kept)
    assert (messages, size > 4 * 100 * kept) == (kept, True)
    with pytest.raises(OffsetGone) as gone:
        reader.read(kept - 1, limit=1, max_bytes=1)
    assert (gone.value.first, gone.value.next) == (kept, 30)
    assert reader.ends().first == kept
    assert len(disk.bodies(kept)) == 30 - kept


def test_messages_are_as_old_as_their_append_whatever_marks_lie_behind_them(disk: Disk) -> None:
    """An idle log's messages began to count as young when its process was started again, or ended."""
    partition = disk.open()
    partition.share(ByHand())
    partition.append(Columns([b"a"]))
    appended = disk.clock.wall()
    disk.clock.move(1000)
    partition.upkeep()
    assert partition.segments()[0].last_time == appended
    partition.close()
    partition = disk.open()
    assert partition.segments()[0].last_time == appended
    disk.clock.move(1000)
    partition.flush()
    partition.roll()

    partition = disk.open()

    assert partition.segments()[0].last_time == appended


def test_a_time_is_found_across_segments(disk: Disk) -> None:
    partition = disk.open(segment_bytes=4096)
    for _ in range(40):
        partition.append(Columns([bytes(400)] * 2))
        disk.clock.move(1)
    reader = disk.reader()
    assert reader.find(0) == 0
    assert [reader.find(1_000_000 + 1000 * number) for number in range(40)] == list(range(0, 80, 2))
    assert reader.find(1_000_000 + 500) == 2
    assert reader.find(2_000_000) == 80


def test_time_never_goes_back_in_a_partition(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"a"]))
    disk.clock.set_wall(-500)
    partition.append(Columns([b"b"]))
    partition.close()
    disk.open().append(Columns([b"c"]))
    assert [chunk.time for chunk in disk.reader().read(0, limit=9, max_bytes=9)] == [1_000_000] * 3


def test_limits_of_a_read_count_messages_and_bytes_but_give_one_at_least(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"12345"] * 4))
    partition.append(Columns([b"12345"] * 4))
    reader = disk.reader()

    def lengths(offset: int, limit: int, max_bytes: int) -> list[int]:
        return [len(chunk) for chunk in reader.read(offset, limit=limit, max_bytes=max_bytes)]

    assert lengths(0, 6, 1000) == [4, 2]
    assert lengths(0, 100, 27) == [4, 1]
    assert lengths(3, 100, 1) == [1]
    assert lengths(8, 100, 100) == []


def test_a_repeated_append_of_a_producer_is_known_also_after_opening_and_rolling(disk: Disk) -> None:
    partition = disk.open()
    for sequence in range(0, 14, 2):
        partition.append(Columns([b"a", b"b"]), Producer(7, 1, sequence))
    again = partition.append(Columns([b"a", b"b"]), Producer(7, 1, 12))
    assert (again.offset, again.duplicate) == (12, True)
    partition.roll()
    partition.close()
    for _ in range(2):  # the second opening is that of a killed process
        partition = disk.open()
        again = partition.append(Columns([b"a", b"b"]), Producer(7, 1, 4))
        assert (again.offset, again.duplicate) == (4, True)
    assert partition.next == 14


def test_a_producer_out_of_turn_is_refused(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"a"]), Producer(7, 1, 0))
    for wrong in (Producer(7, 1, 2), Producer(7, 0, 1), Producer(0, 0, 0), Producer(7, 1, 1 << 32)):
        with pytest.raises(UsageError):
            partition.append(Columns([b"b"]), wrong)
    assert partition.append(Columns([b"b"]), Producer(7, 2, 0)).offset == 1


def test_many_threads_append_at_once_and_each_keeps_its_order(disk: Disk) -> None:
    partition = disk.open()
    places: dict[int, bytes] = {}

    def append(name: int) -> None:
        for number in range(50):
            body = b"%d-%d" % (name, number)
            places[partition.append(Columns([body])).offset] = body

    threads = [threading.Thread(target=append, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = disk.bodies()
    assert [places[offset] for offset in range(800)] == bodies
    for name in range(16):
        assert [body for body in bodies if body.startswith(b"%d-" % name)] == [b"%d-%d" % (name, n) for n in range(50)]


def test_writes_are_in_order_with_appends_and_durable_with_the_next(disk: Disk) -> None:
    partition = disk.open()
    assert [partition.write(Columns([b"a"])), partition.write(Columns([b"b"]))] == [0, 1]
    assert (partition.durable, disk.bodies()) == (0, [])
    partition.append(Columns([b"c"]))
    assert (partition.durable, disk.bodies()) == (3, [b"a", b"b", b"c"])


def test_a_closed_partition_refuses(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"a"]))
    partition.close()
    partition.close()
    for call in (lambda: partition.append(Columns([b"b"])), partition.flush, lambda: partition.write(Columns([b"b"]))):
        with pytest.raises(Closed):
            call()


def test_a_mark_is_written_once_when_idle(disk: Disk) -> None:
    partition = disk.open()
    partition.append(Columns([b"a"]))
    size = disk.logs()[0].stat().st_size
    disk.clock.move(0.3)
    for _ in range(3):
        assert partition.upkeep() is None
    assert disk.logs()[0].stat().st_size == size + 64
    assert disk.bodies() == [b"a"]


def test_an_append_that_is_read_a_message_at_a_time_is_unpacked_once(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.open(compression="lz4").append(Columns([b"%d" % number for number in range(100)]))
    unpackings, unpack = [], readable.unpack
    monkeypatch.setattr(readable, "unpack", lambda *given: unpackings.append(1) or unpack(*given))
    reader = disk.reader()

    for first, second in pairwise(range(100)):  # two groups, side by side
        for offset in (second, first):
            (chunk,) = reader.read(offset, limit=1, max_bytes=100)
            assert (chunk.base, list(chunk.bodies)) == (offset, [b"%d" % offset])

    assert len(unpackings) == 1


def test_what_is_kept_of_appends_is_bounded_and_read_on_from(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacked, "_MOST_BYTES", 50)
    partition = disk.open()
    partition.append(Columns([b"large" * 20, b"a"]))
    partition.append(Columns([b"b", b"c"]))
    partition.append(Columns([b"d" * 30, b"e" * 19]))
    reader = disk.reader()

    bodies = [reader.read(offset, limit=1, max_bytes=200)[0].bodies[0] for offset in range(6)]
    assert [body[:1] for body in bodies] == [b"l", b"a", b"b", b"c", b"d", b"e"]
    assert [one.base for one in reader.read(1, limit=9, max_bytes=200)] == [1, 2, 4]
    assert sum(map(len, reader.read(3, limit=2, max_bytes=200))) == 2
