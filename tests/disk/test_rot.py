"""Bytes that were durable change on the disk: what is returned is right all the same, and what is not is refused.

Every damage is either harmless (padding, an index, the tail, a footer) or makes exactly the appends it hit
``CorruptLog``; never is wrong data returned, and never is anything refused that was not hit.
"""

import os
import random
from pathlib import Path
from typing import NamedTuple

import pytest

from holdfast.stores.disk.format import HEADER, is_control, parse_segment
from holdfast.stores.disk.segment import walk
from tests.disk.courses import Course
from tests.disk.history import judge, told
from tests.disk.layers import seeds, share
from tests.disk.partitions import ByHand, Writer, found, opened
from tests.disk.simulated import Image, Note, SimulatedDisk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


class Extent(NamedTuple):
    """The bytes of a file that hold these offsets; none for a header, a mark, a footer."""

    file: str
    begin: int
    end: int
    first: int
    next: int


class Store(NamedTuple):
    """A disk with a closed partition, what is known of it, and where everything lies."""

    image: Image
    facts: list
    extents: list[Extent]
    headers: list[tuple[str, int]]


def closed_store(seed, appends, size):
    """Return a store of several segments, closed cleanly."""
    draw, disk = random.Random(seed), SimulatedDisk()
    course = Course(disk, draw, sync="always", reserve_bytes=0)
    writer = Writer("p", draw)
    course.open()
    for number in range(appends):
        course.append(writer.bodies(most=4, size=size))
        if number % 5 == 4:
            course.partition.roll()
    course.close()
    image = disk.image()
    facts = [step.fact for step in disk.trace if isinstance(step, Note)]
    batches = [(name, batch) for name in image.files if name.endswith(".log") for batch in walked(image, name)]
    return Store(image, facts, list(extents(batches)), [(name, batch.position) for name, batch in batches])


def walked(image, name):
    """Return the headers of a segment's batches."""
    disk, content = SimulatedDisk(image), image.files[name]
    fd = disk.open(Path(name), os.O_RDONLY)
    return [batch for batch, _ in walk(disk, fd, parse_segment(content[:HEADER]).mark, HEADER, len(content))]


def extents(batches):
    """Yield what holds offsets: who cannot trust the header of a segment can trust nothing in it."""
    data = [(name, batch) for name, batch in batches if not is_control(batch)]
    for name in {name: None for name, _ in data}:
        inside = [batch for other, batch in data if other == name]
        yield Extent(name, 0, HEADER, inside[0].base, inside[-1].next)
        for batch in inside:
            yield Extent(name, batch.position, batch.end, batch.base, batch.next)


def unwitnessed(store, image):
    """Return the offsets of which nothing tells any more that they were durable: rule 6 of recovery.

    In the newest segment only a header behind them, which says how much had been synced, can tell.
    """
    newest = max(name for name in image.files if name.endswith(".log"))
    before, now = store.image.files[newest], image.files[newest]
    intact = [at for name, at in store.headers if name == newest and now[at : at + HEADER] == before[at : at + HEADER]]
    lost = [one for one in store.extents if one.file == newest and HEADER <= max(intact, default=HEADER) <= one.begin]
    return {offset for one in lost for offset in range(one.first, one.next)}


def hit(store, image):
    """Return the offsets whose bytes are no longer what they were."""
    offsets = set()
    for name, begin, end, first, after in store.extents:
        if image.files[name][begin:end] != store.image.files[name][begin:end]:
            offsets.update(range(first, after))
    return offsets


def survives(store, files, where, openings=(False, True)):
    """Judge a damaged disk: as a reader finds it, and once it was opened for writing."""
    image = store.image._replace(files=files)
    may = hit(store, image)
    for opening in openings:
        disk = SimulatedDisk(image)
        if opening:
            opened(disk, epoch=9, upkeep=ByHand()).close()
        left = found(disk)
        said = told(store.facts)
        if opening or image.files["/disk/0/tail"] != store.image.files["/disk/0/tail"]:
            for offset in unwitnessed(store, image) & may:
                del said.acked[offset]
        wrong = judge(said, left, rot=True)
        assert wrong == [], f"{where}, {'opened' if opening else 'read'}: {wrong}"
        refused = {offset for first, end in left.corrupt for offset in range(first, end)}
        assert refused <= may, f"{where}, {'opened' if opening else 'read'}: {refused - may} were not hit"


@pytest.mark.parametrize("quarter", range(4))
def test_every_byte_of_a_store_may_rot(quarter, record_property):
    store, cases = closed_store(5, 12, 8), 0
    places = [(name, at) for name, content in store.image.files.items() for at in range(len(content))]
    draw = random.Random(quarter)
    for name, at in places[quarter::4]:
        content = store.image.files[name]
        rotten = content[:at] + bytes([content[at] ^ draw.randrange(1, 256)]) + content[at + 1 :]
        survives(store, store.image.files | {name: rotten}, f"byte {at} of {name}")
        cases += 1
    record_property("cases", cases)


@share(18_500, 1_000_000, parts=4)
def test_bits_sectors_and_pages_may_rot_anywhere(cases, record_property):
    stores = {}
    for seed in seeds(cases, record_property):
        draw = random.Random(seed)
        number = draw.randrange(8)
        if number not in stores:
            stores[number] = closed_store(number, 14, 60)
        store = stores[number]
        survives(store, damaged(store.image.files, draw), f"seed {seed}", [draw.random() < 0.5])


def damaged(files, draw):
    """Return the files after one stroke of bad luck."""
    files = dict(files)
    name = draw.choice([name for name, content in files.items() if content])
    content = bytearray(files[name])
    size = draw.choice((512, 512, 4096))
    at = draw.randrange(len(content))
    block = slice(at // size * size, min(at // size * size + size, len(content)))
    match draw.choice(("bit", "zeros", "noise", "swap", "stale")):
        case "bit":
            content[at] ^= 1 << draw.randrange(8)
        case "zeros":
            content[block] = bytes(block.stop - block.start)
        case "noise":
            content[block] = draw.randbytes(block.stop - block.start)
        case "swap":
            other = draw.randrange(len(content)) // size * size
            one, two = bytes(content[block]), bytes(content[other : other + len(content[block])])
            if len(one) == len(two) and abs(other - block.start) >= len(one):
                content[block], content[other : other + len(two)] = two, one
        case "stale":
            donor = files[draw.choice(list(files))]
            piece = donor[block] or bytes(1)
            content[block.start : block.start + len(piece)] = piece
            del content[len(files[name]) :]
    return files | {name: bytes(content)}
