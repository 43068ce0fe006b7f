"""What a disk may hold after a power cut: everything that was synced, and of the rest whatever the disk liked.

Of what was not synced, each block (a page of 4 KiB, or a sector of 512 B) may be there as it was after any of the
writes since the last sync; lost blocks beyond what was synced leave a shorter file, zeros, or bytes that lay there
before. Names that were not synced may each be there or not. A sync that failed may have lost all that it was about, or
none of it, or any blocks: the system keeps showing it, and does not write it again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

from tests.disk.simulated import (
    Create,
    Image,
    LoseSync,
    Node,
    Note,
    Remove,
    Rename,
    Step,
    Sync,
    SyncDirectory,
    Truncate,
    Write,
    overwrite,
    resize,
)

PAGE, SECTOR = 4096, 512
Fill = Literal["short", "zeros", "old"]
FILLS: tuple[Fill, ...] = ("short", "zeros", "old")
NameStep = Create | Remove | Rename


class Crash(NamedTuple):
    """A disk after a power cut behind so many steps, and what the test knew by then."""

    at: int
    image: Image
    facts: list[Any]


class Platter:
    """Follows a trace, and keeps apart what is safe and what is not yet."""

    def __init__(self, image: Image, nodes: dict[str, Node]) -> None:
        """``nodes`` are those the trace speaks of that were there before, by name."""
        self._safe: dict[Node, bytes] = {node: image.files[name] for name, node in nodes.items()}
        self._loose: dict[Node, list[Write | Truncate]] = {}
        self._failed = 0
        self._names: dict[str, Node | None] = dict(nodes) | dict.fromkeys(image.directories)
        self._loose_names: dict[str, list[NameStep]] = {}

    def follow(self, step: Step) -> bool:
        """Take one step; tell whether a power cut may leave something else than before it."""
        match step:
            case Write(node) | Truncate(node):
                self._loose.setdefault(node, []).append(step)
            case Sync(node):
                self._safe[node] = _after(self._safe.get(node, b""), self._loose.pop(node, ()))
            case LoseSync(node):
                self._safe[node] = self._what_went(node)
            case Create(directory, _, node):
                if node is not None:
                    self._safe[node] = b""
                self._loose_names.setdefault(directory, []).append(step)
            case Remove(directory) | Rename(directory):
                self._loose_names.setdefault(directory, []).append(step)
            case SyncDirectory(directory):
                for loose in self._loose_names.pop(directory, ()):
                    _apply(self._names, loose)
            case Note():
                return False
        return True

    def _what_went(self, node: Node) -> bytes:
        """Return what a sync that failed left of a file; the same for the same trace, whatever is drawn else."""
        self._failed += 1
        draw = random.Random(hash((self._failed, len(self._loose.get(node, ())))))
        content = self._content(node, draw, draw.choice(FILLS), draw.choice((0.0, 0.0, 0.5, 1.0)))
        self._loose.pop(node, None)
        return content

    def images(self, draw: random.Random, most: int) -> Iterator[Image]:
        """Yield up to ``most`` different disks that a power cut now may leave: the plainest, then drawn ones."""
        seen = set()
        for fill, content_kept, names_kept in self._choices(draw, most):
            image = self._image(draw, fill, content_kept, names_kept)
            mark = hash((frozenset(image.files.items()), image.directories))
            if mark not in seen:
                seen.add(mark)
                yield image
                if len(seen) == most:
                    return

    def safe(self) -> Image:
        """Return what is there after a power cut that loses all it may."""
        return self._image(random.Random(0), "short", 0.0, 0.0)

    def _choices(self, draw: random.Random, most: int) -> Iterator[tuple[Fill, float, float]]:
        """Yield how lost blocks are filled, and how likely contents and names are kept."""
        yield from product(FILLS[:1], (1.0, 0.0), (1.0, 0.0))
        loose = any(self._loose.values()) or any(self._loose_names.values())
        for _ in range(2 * most if loose else 0):
            yield draw.choice(FILLS), draw.choice((0.25, 0.5, 0.75)), draw.choice((1.0, 1.0, 0.5))

    def _image(self, draw: random.Random, fill: Fill, content_kept: float, names_kept: float) -> Image:
        names = dict(self._names)
        for steps in self._loose_names.values():
            for step in steps:
                if draw.random() < names_kept:
                    _apply(names, step)
        files, directories, ghosts = {}, set(), {}
        for path, node in names.items():
            if self._loose_names and any(names.get(parent, self) is not None for parent in _parents(path)):
                continue  # it hung below a directory whose own name was lost
            if node is None:
                directories.add(path)
            else:
                files[path] = self._content(node, draw, fill, content_kept)
                if node in self._loose:
                    ghosts[path] = _after(self._safe[node], self._loose[node])
        return Image(files, frozenset(directories), ghosts)

    def _content(self, node: Node, draw: random.Random, fill: Fill, kept: float) -> bytes:
        safe, loose = self._safe[node], self._loose.get(node, ())
        if not loose or kept == 0:
            return safe
        versions = [safe]
        for step in loose:
            versions.append(_after(versions[-1], [step]))
        return versions[-1] if kept == 1 else _torn(versions, draw, fill, kept, node.ghost or safe)


def crashes(
    trace: Sequence[Step], draw: random.Random, most: int, start: Image, nodes: dict[str, Node]
) -> Iterator[Crash]:
    """Yield disks after a power cut behind each step of a trace, up to ``most`` for each."""
    platter, facts = Platter(start, nodes), []
    for at, step in enumerate(trace):
        if isinstance(step, Note):
            facts.append(step.fact)
        if platter.follow(step):
            for image in platter.images(draw, most):
                yield Crash(at, image, list(facts))


def _torn(versions: Sequence[bytes], draw: random.Random, fill: Fill, kept: float, old: bytes) -> bytes:
    """Return a file of which each block is as it was in one of the versions, oldest first, and the size too."""
    newest, block = versions[-1], draw.choice((PAGE, PAGE, SECTOR))
    length = max(map(len, versions))
    torn, first_lost = bytearray(), None
    for at in range(0, length, block):
        version = newest if draw.random() < kept else draw.choice(versions[:-1])
        piece, whole = version[at : at + block], min(block, length - at)
        if len(piece) < whole:
            first_lost = at + len(piece) if first_lost is None else first_lost
            piece += _leftover(draw, fill, at + len(piece), whole - len(piece), old)
        torn += piece
    if fill == "short" and first_lost is not None:
        return bytes(torn[: max(first_lost, min(map(len, versions)))])
    return bytes(torn[: len(draw.choice([newest, newest, torn]))])


def _leftover(draw: random.Random, fill: Fill, at: int, size: int, old: bytes) -> bytes:
    """Return what a block that was never written holds: zeros, noise, or old bytes from here or from elsewhere."""
    if fill != "old":
        return bytes(size)
    if draw.random() < 0.3 or len(old) < size:
        return draw.randbytes(size)
    begin = at if draw.random() < 0.7 else draw.randrange(0, len(old) - size + 1) & ~7
    return old[begin : begin + size].ljust(size, b"\0")


def _after(content: bytes, steps: Iterable[Write | Truncate]) -> bytes:
    changed = bytearray(content)
    for step in steps:
        if isinstance(step, Write):
            overwrite(changed, step.at, step.data)
        else:
            resize(changed, step.size)
    return bytes(changed)


def _apply(names: dict[str, Node | None], step: NameStep) -> None:
    path = f"{step.directory}/{step.name}"
    match step:
        case Create(_, _, node):
            names[path] = node
        case Remove():
            names.pop(path, None)
        case Rename(directory, _, new) if path in names:
            names[f"{directory}/{new}"] = names.pop(path)


def _parents(path: str) -> Iterator[str]:
    while (path := path.rpartition("/")[0]).count("/") > 1:
        yield path
