"""What the runners of a worker want, and how that is asked of a store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.worker.runners.runner import Runner


class Place(NamedTuple):
    """Jobs of these kinds in these queues."""

    queues: tuple[str, ...]
    kinds: frozenset[str]


class Want(NamedTuple):
    """That ``runner`` has room for so many jobs of these kinds, from these queues alone if it serves a lane."""

    runner: Runner
    room: int
    kinds: frozenset[str]
    queues: tuple[str, ...] | None = None


Wanting = Sequence[Want]


def covers(other: Place, one: Place) -> bool:
    """Tell whether all that is in ``one`` is in ``other`` too."""
    return one.kinds <= other.kinds and set(one.queues) <= set(other.queues)


def places(wanting: Wanting, queues: Sequence[str]) -> list[Place]:
    """Return, in as few places as can be, what is wanted of a worker's ``queues`` and nothing else."""
    asked = (Place(tuple(queues) if want.queues is None else want.queues, want.kinds) for want in wanting)
    found = _with_all_queues(_with_all_kinds(asked))
    return [one for one in found if not any(one != other and covers(other, one) for other in found)]


def _with_all_kinds(asked: Iterable[Place]) -> list[Place]:
    kinds: dict[tuple[str, ...], frozenset[str]] = {}
    for one in asked:
        kinds[one.queues] = kinds.get(one.queues, frozenset()) | one.kinds
    return [Place(*item) for item in kinds.items()]


def _with_all_queues(asked: Iterable[Place]) -> list[Place]:
    queues: dict[frozenset[str], tuple[str, ...]] = {}
    for one in asked:
        queues[one.kinds] = tuple(dict.fromkeys((*queues.get(one.kinds, ()), *one.queues)))
    return [Place(names, kinds) for kinds, names in queues.items()]
