"""The judge of a partition after something went wrong: which promises does what is found contradict?

Every message of these tests says who wrote it and as which: ``body`` makes it, ``label`` reads it. Each rule is a
function from what was told and what was found to its findings; ``judge`` asks all of them. The rules themselves are
tested by planted faults, see ``test_history.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

# -- facts --------------------------------------------------------------------------------------------------------


class Offered(NamedTuple):
    """These bodies are about to be appended; what was never offered is a phantom."""

    bodies: tuple[bytes, ...]


class Acked(NamedTuple):
    """The append of these bodies returned this offset; ``synced`` when they are to outlive a power cut."""

    offset: int
    bodies: tuple[bytes, ...]
    synced: bool = True


class Refused(NamedTuple):
    """The append of these bodies was refused with nothing stored."""

    bodies: tuple[bytes, ...]


class Flushed(NamedTuple):
    """All that was acknowledged so far is to outlive a power cut; with other threads, the first ``told`` facts."""

    told: int | None = None


class Unheard(NamedTuple):
    """A sync failed, and who was to hear that has died: what was not synced may be gone, whatever lies behind it."""


class Dropping(NamedTuple):
    """Messages below this offset are about to be dropped, and may be found or not."""

    until: int


class Committed(NamedTuple):
    """A group committed this offset; ``durable`` when that is to outlive a power cut."""

    group: str
    offset: int
    durable: bool = False


class Settled(NamedTuple):
    """After recovery readers were shown these messages, by offset, and no others: from here on they alone count."""

    messages: tuple[tuple[int, bytes], ...]


# -- what is judged -----------------------------------------------------------------------------------------------


class Told(msgspec.Struct):
    """What the facts up to a power cut or a kill amount to."""

    offered: set[bytes] = msgspec.field(default_factory=set)
    refused: set[bytes] = msgspec.field(default_factory=set)
    acked: dict[int, bytes] = msgspec.field(default_factory=dict)
    loose: dict[int, tuple[int, bytes]] = msgspec.field(default_factory=dict)
    dropping: int = 0
    groups: dict[str, int] = msgspec.field(default_factory=dict)


class Found(msgspec.Struct):
    """What a reader finds: messages in the order it got them, the ends it is told, ranges it was refused as corrupt,
    where groups stand, and where reading did not go on though it is not the end.
    """

    messages: list[tuple[int, bytes]]
    first: int
    next: int
    corrupt: Sequence[tuple[int, int]] = ()
    groups: Mapping[str, int] = msgspec.field(default_factory=dict)
    stuck: int | None = None


class Finding(NamedTuple):
    """A promise that was broken: which rule says so, and how."""

    rule: str
    offset: int
    text: str


def told(facts: Iterable[Any], *, power: bool = True) -> Told:
    """Return what facts amount to: after a power cut, or (not ``power``) after no more than the death of a process."""
    sum_ = Told()
    for number, fact in enumerate(facts):
        match fact:
            case Offered(bodies):
                sum_.offered.update(bodies)
            case Refused(bodies):
                sum_.refused.update(bodies)
            case Acked(offset, bodies, synced):
                if synced or not power:
                    sum_.acked.update(enumerate(bodies, offset))
                else:
                    sum_.loose.update((at, (number, body)) for at, body in enumerate(bodies, offset))
            case Flushed(before):
                safe = {at: body for at, (when, body) in sum_.loose.items() if when < (before or number)}
                sum_.acked |= safe
                sum_.loose = {at: loose for at, loose in sum_.loose.items() if at not in safe}
            case Unheard():
                sum_.loose = {}
            case Settled(messages):
                sum_.offered = {body for _, body in messages}
                sum_.acked, sum_.loose = dict(messages), {}
            case Dropping(until):
                sum_.dropping = max(sum_.dropping, until)
            case Committed(group, offset, durable):
                if durable or not power:
                    sum_.groups[group] = max(offset, sum_.groups.get(group, 0))
    return sum_


def judge(said: Told, found: Found, *, rot: bool = False) -> list[Finding]:
    """Return what contradicts the promises. With ``rot``, bytes were damaged, and may be reported as that."""
    rules = RULES if rot else (*RULES, false_corruption)
    return [finding for rule in rules for finding in rule(said, found)]


# -- rules --------------------------------------------------------------------------------------------------------


def lost(said: Told, found: Found) -> Iterator[Finding]:
    """What was acknowledged is there, or refused as corrupt, but for what was being dropped."""
    there = dict(found.messages)
    for offset, body in said.acked.items():
        if offset in there or (offset < said.dropping and offset < found.first):
            continue
        if not any(first <= offset < end for first, end in found.corrupt):
            yield Finding("lost", offset, f"{body[:40]!r} was acknowledged and is gone")


def changed(said: Told, found: Found) -> Iterator[Finding]:
    """What was acknowledged at an offset is what is there."""
    for offset, body in found.messages:
        expected = said.acked.get(offset, body)
        if expected != body:
            yield Finding("changed", offset, f"{body[:40]!r} where {expected[:40]!r} was acknowledged")


def phantom(said: Told, found: Found) -> Iterator[Finding]:
    """What is there was offered, and not refused."""
    for offset, body in found.messages:
        if body not in said.offered:
            yield Finding("phantom", offset, f"{body[:40]!r} was never offered")
        elif body in said.refused:
            yield Finding("phantom", offset, f"{body[:40]!r} was refused")


def twice(_said: Told, found: Found) -> Iterator[Finding]:
    """Nothing is there twice."""
    times = Counter(body for _, body in found.messages)
    for offset, body in found.messages:
        if times[body] > 1:
            yield Finding("twice", offset, f"{body[:40]!r} is there {times[body]} times")


def reordered(_said: Told, found: Found) -> Iterator[Finding]:
    """Messages of one producer lie in the order in which it offered them, and are returned in that of offsets."""
    last: dict[bytes, int] = {}
    before = found.first - 1
    for offset, body in found.messages:
        who, number = label(body)
        if offset <= before:
            yield Finding("reordered", offset, f"returned behind offset {before}")
        if number <= last.get(who, -1):
            yield Finding("reordered", offset, f"{number} of {who!r} lies behind {last[who]}")
        last[who], before = number, offset


def stuck(_said: Told, found: Found) -> Iterator[Finding]:
    """Reading goes on to the end."""
    if found.stuck is not None:
        yield Finding("stuck", found.stuck, f"nothing is returned here, and the end is said to be {found.next}")


def torn(said: Told, found: Found) -> Iterator[Finding]:
    """What a power cut takes, it takes from the end."""
    there = {offset for offset, _ in found.messages}
    known = [*said.acked, *said.loose]
    last = max((offset for offset in known if offset in there), default=-1)
    for offset in said.loose:
        if offset not in there and said.dropping <= offset < last:
            yield Finding("torn", offset, f"is gone, and {last} is there")


def ahead(said: Told, found: Found) -> Iterator[Finding]:
    """No offset stands beyond what there is."""
    beyond = [offset for offset, _ in found.messages if not found.first <= offset < found.next]
    for offset in beyond:
        yield Finding("ahead", offset, f"returned, though the ends are {found.first} and {found.next}")
    for group, offset in found.groups.items():
        if offset > found.next:
            yield Finding("ahead", offset, f"group {group} stands here, and the log ends at {found.next}")
        if offset < said.groups.get(group, 0):
            yield Finding("ahead", offset, f"group {group} stands here after a commit of {said.groups[group]}")


def false_corruption(_said: Told, found: Found) -> Iterator[Finding]:
    """Nothing is called corrupt where nothing is."""
    for first, end in found.corrupt:
        yield Finding("false corruption", first, f"up to {end}, and no byte was damaged")


Rule = Callable[[Told, Found], Iterator[Finding]]
RULES: tuple[Rule, ...] = (lost, changed, phantom, twice, reordered, stuck, torn, ahead)


# -- bodies -------------------------------------------------------------------------------------------------------


def body(who: int | str, number: int, size: int = 0) -> bytes:
    """Return the body of the ``number``-th message of a producer, padded to ``size`` bytes."""
    return f"{who}/{number}/".encode().ljust(size, b".")


def label(text: bytes) -> tuple[bytes, int]:
    """Return who wrote a body, and as which; of bytes that are none of ours, who knows."""
    who, _, rest = text.partition(b"/")
    number = rest.partition(b"/")[0]
    return (who, int(number)) if number.isdigit() else (text, 0)
