"""A group's place in one partition: a file of two slots (:class:`holdfast.stores.disk.format.Slot`), written in turn.

The member that holds the partition has this file locked. Whoever writes, be it that member or a seek in another
process, has the turn (the file ``<partition>.turn``), reads what is there first, and writes only what follows it: of a
seek and a commit that meet, the later one sees the earlier one, and a commit sees that its version is an old one.

One slot is always on the disk whole: the other is written again and again until it has been synced, and only then do
the two change places. Whoever finds a slot that it has not written itself syncs the file first.

The finished list has what is done beyond the next offset: the distance of each from the one before, the first from the
next offset, seven bits a byte, the lowest first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

from holdfast.errors import Closed
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.format import FINISHED_MOST, SLOT, Slot, pack_slot, parse_slot
from holdfast.stores.disk.logs.directory import opened, whole, write_all
from holdfast.stores.disk.turns import take_turn

TORN_READS = 5


class Place(msgspec.Struct, frozen=True):
    """Where a group stands in a partition: the offset it reads ``next``, and those ``finished`` beyond.

    ``version`` rises with every seek and every change of owner, ``serial`` with every write; ``time`` is the ms of the
    last, ``begun`` is as ``Assigned`` has it. Of a file that nobody has written all are 0.
    """

    next: int = 0
    version: int = 0
    finished: tuple[int, ...] = ()
    time: int = 0
    serial: int = 0
    begun: int = 0


class Slots(msgspec.Struct, frozen=True):
    """What a file holds: the newest place, the slot that has it, and how many slots are damaged."""

    newest: Place
    slot: int
    damaged: int


class OffsetFile:
    """One open offset file. Any thread may call; what takes the turn waits until others have ended theirs."""

    def __init__(self, files: Files, path: Path) -> None:
        """Open the file, and make it if need be; ``FileNotFoundError`` when its group is gone."""
        self._files, self.path = files, path
        self._turn_path = _turn_path(path)
        self._fd = files.open(path, os.O_RDWR | os.O_CREAT)
        try:
            self._turn = files.open(self._turn_path, os.O_RDWR | os.O_CREAT)
        except BaseException:
            files.close(self._fd)
            raise
        if files.size(self._fd) < 2 * SLOT:
            with suppress(OSError):  # a commit on a full disk then needs no room
                files.allocate(self._fd, 2 * SLOT)
        self._busy = threading.Lock()
        self._written = 0  # the serial of what was written here last
        self._synced = True  # that is on the disk
        self._named = False  # the file's name is on the disk: whoever made it may have died before
        self._failed = False
        self._closed = False

    def own(self) -> bool:
        """Become the owner of the partition, until it is closed; False when another is."""
        return self._files.lock(self._fd)

    def check_name(self) -> None:
        """Raise ``FileNotFoundError`` when its group was removed since it was opened; in turn: as it will be then."""
        if not self._files.is_at(self._fd, self.path):
            raise FileNotFoundError(f"{self.path} is that of another group, or of none")

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the turn: nobody else, in whatever process, writes the file meanwhile."""
        with self._busy:
            if self._closed:
                raise Closed(f"{self.path} was let go of")
            take_turn(self._files, self._turn, self._turn_path)
            try:
                yield
            finally:
                self._files.unlock(self._turn)

    def read(self) -> Slots:
        """Return what is there now. Somebody may be writing: what looks damaged is looked at again."""
        return read_slots(self._files, self._fd)

    def put_owner(self, name: str) -> None:
        """Say who has taken the partition; in the owner's turn."""
        # In one write, and with an end: it is read without the turn.
        write_all(self._files, self._turn, name.encode("utf-8", "surrogatepass") + b"\0")

    def write(self, found: Slots, place: Place) -> Place:
        """Put ``place`` behind what was found in this turn; return it as it was written. Not synced."""
        if found.newest.serial != self._written:  # another's
            self._sync()
        slot = 1 - found.slot if self._synced else found.slot
        kept, packed = pack_finished(place.next, place.finished)
        written = msgspec.structs.replace(place, finished=kept, serial=found.newest.serial + 1)
        data = pack_slot(Slot(written.serial, written.version, written.next, written.time, packed, written.begun))
        write_all(self._files, self._fd, data, slot * SLOT)
        self._written, self._synced = written.serial, False
        return written

    def sync(self) -> None:
        """Return once what was written is on the disk. A write that comes meanwhile waits."""
        with self.turn():
            self.sync_in_turn()

    def sync_in_turn(self) -> None:
        """Do the same for who has the turn."""
        if self._failed:
            found = self.read()
            self.write(found, found.newest)
        if not self._synced:
            self._sync()

    def _sync(self) -> None:
        # After a sync that failed, the next may succeed without having written anything: the slot is written again.
        self._failed = True
        self._files.sync(self._fd)
        self._failed = False
        if not self._named:
            self._files.sync_directory(self.path.parent)
            self._named = True
        self._synced = True

    def close(self) -> None:
        """Let go of the file, and of the partition. May be repeated."""
        with self._busy:
            self.abandon()

    def abandon(self) -> None:
        """Do the same in a child just forked, where others may seem to be at work: they are not there."""
        if not self._closed:
            self._closed = True
            self._files.close(self._turn)
            self._files.close(self._fd)


@contextmanager
def offset_file(files: Files, path: Path) -> Iterator[OffsetFile]:
    """Open an offset file for as long as the context."""
    file = OffsetFile(files, path)
    try:
        yield file
    finally:
        file.close()


def look(files: Files, path: Path) -> tuple[Place, str | None]:
    """Return the place in an offset file, and who holds its partition now. Changes nothing, and makes no file."""
    try:
        with opened(files, path, os.O_RDWR) as fd:  # a lock to write is asked of files open for writing alone
            place = read_slots(files, fd).newest
            return place, _owner(files, path) if files.locked(fd) else None
    except FileNotFoundError:
        return Place(), None


def sync_place(files: Files, path: Path) -> None:
    """Put what an offset file says now on the disk, whoever wrote it; ``FileNotFoundError`` when there is none."""
    with opened(files, path, os.O_RDWR) as fd:
        files.sync(fd)
    files.sync_directory(path.parent)


def _owner(files: Files, path: Path) -> str:
    with suppress(FileNotFoundError):
        return whole(files, _turn_path(path)).partition(b"\0")[0].decode("utf-8", "surrogatepass")
    return ""


def _turn_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.turn")


def read_slots(files: Files, fd: int) -> Slots:
    """Return what an offset file holds."""
    found = _parsed(files.read(fd, 2 * SLOT, 0))
    for _ in range(TORN_READS):
        if not found.damaged:
            break
        found = _parsed(files.read(fd, 2 * SLOT, 0))
    return found


def _parsed(data: bytes) -> Slots:
    places = [_place(data[at : at + SLOT]) for at in (0, SLOT)]
    damaged = sum(place is None for place in places)
    first, second = (place or Place() for place in places)
    return Slots(second, 1, damaged) if second.serial >= first.serial else Slots(first, 0, damaged)


def _place(slot: bytes) -> Place | None:
    """Return what a slot says: None when it is damaged, an empty place when it was never written."""
    found = parse_slot(slot)
    if found is None:
        return None if slot.strip(b"\0") else Place()
    finished = tuple(unpack_finished(found.next, found.finished))
    return Place(found.next, found.group_version, finished, found.time, found.version, found.begun)


# -- the finished list ------------------------------------------------------------------------------------------


def pack_finished(next_: int, finished: Iterable[int]) -> tuple[tuple[int, ...], bytes]:
    """Return what a slot has room for of the offsets beyond ``next_``, the lowest first, and that packed."""
    offsets = sorted({offset for offset in finished if offset >= next_})
    distances = [after - before for before, after in pairwise([next_, *offsets])]
    if not distances or max(distances) < 0x80:
        return tuple(offsets[:FINISHED_MOST]), bytes(distances[:FINISHED_MOST])
    packed = bytearray()
    for index, distance in enumerate(distances):
        piece = _varint(distance)
        if len(packed) + len(piece) > FINISHED_MOST:
            return tuple(offsets[:index]), bytes(packed)
        packed += piece
    return tuple(offsets), bytes(packed)


def unpack_finished(next_: int, packed: bytes) -> Sequence[int]:
    """Return the offsets that ``pack_finished`` packed."""
    if packed and max(packed) < 0x80:
        return list(accumulate(packed, initial=next_))[1:]
    offsets, offset, distance, shift = [], next_, 0, 0
    for byte in packed:
        distance |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            offset += distance
            offsets.append(offset)
            distance = shift = 0
    return offsets


def _varint(number: int) -> bytes:
    piece = bytearray()
    while number >= 0x80:
        piece.append(number & 0x7F | 0x80)
        number >>= 7
    piece.append(number)
    return bytes(piece)
