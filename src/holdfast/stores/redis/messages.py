"""Messages as the arguments of scripts (lua/messages.lua), and deliveries out of what these answer (lua/lease.lua)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.delivery import Delivery
from holdfast.machine import millis
from holdfast.message import NO_HEADERS, Message, Unique
from holdfast.stores.redis.connection import Arg

_encode = msgspec.json.Encoder().encode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode
Body = tuple[Mapping[str, str], bytes]


def packed(message: Message) -> bytes:
    """Return headers and body as one: JSON has no line feeds."""
    return _encode(message.headers) + b"\n" + message.body if message.headers else b"\n" + message.body


def unpacked(data: bytes) -> Body:
    """Return headers and body again."""
    headers, _, body = data.partition(b"\n")
    return _decode_headers(headers) if headers else NO_HEADERS, body


def groups(messages: Iterable[Message]) -> list[Arg]:
    """Return the messages as groups: those that follow each other and have all but id, headers and body in common."""
    args: list[Arg] = []
    shared: tuple[object, ...] = ()
    at, count = -1, 0
    for message in messages:
        its = (
            message.kind,
            message.delay,
            message.due,
            message.priority,
            message.expires_in,
            message.key,
            message.max_attempts,
            message.timeout,
            message.unique,
            message.format,
        )
        if its != shared:
            if at >= 0:
                args[at] = count
            shared, at, count = its, len(args), 0
            args += _common(message)
        count += 1
        args.append(message.id)
        args.append(_encode(message.headers) + b"\n" + message.body if message.headers else b"\n" + message.body)
    if at >= 0:
        args[at] = count
    return args


def kept(message: Message) -> list[Arg]:
    """Return the fields, and their values, that are kept as they are."""
    fields: list[Arg] = []
    if message.max_attempts is not None:
        fields += ["most", message.max_attempts]
    if message.timeout is not None:
        fields += ["timeout", repr(message.timeout)]
    if message.unique is not None:
        fields += ["unique", _encode(message.unique)]
    return fields


def _common(message: Message) -> list[Arg]:
    fields = kept(message)
    return [
        0,
        millis(message.delay),
        "" if message.due is None else message.due,
        f"{message.format}:{message.kind}",
        message.priority,
        "" if message.expires_in is None else millis(message.expires_in),
        message.key or "",
        *_slot(message.unique),
        len(fields),
        *fields,
    ]


def _slot(unique: Unique | None) -> tuple[Arg, ...]:
    if unique is None:
        return "", "", 0, ""
    within = unique.within
    length = 0.0 if within is None else within if isinstance(within, (int, float)) else within.total_seconds()
    return unique.key, unique.until, millis(length), unique.on_conflict


def deliveries(queue: str, lanes: Sequence[str], reply: Sequence[Any]) -> tuple[list[Delivery], list[tuple[str, int]]]:
    """Return what a lease granted in these lanes; and id and token of jobs whose body is gone."""
    leased, jobs, bodies, ids = reply
    found, gone = list[Delivery](), list[tuple[str, int]]()
    known: dict[bytes, tuple[Any, ...]] = {}
    for job, data, job_id in zip(jobs, bodies, ids, strict=True):
        if type(job) is bytes:
            shared = job[33:]  # by jobs that were sent together
            facts = known.get(shared)
            if facts is None:
                facts = known[shared] = _plain(shared)
            token, attempts = int(job[1:17]) + 1, 1
        else:
            attempts, token, *its, lane = job
            facts = _facts(lanes[lane], its)
        if data is None:
            gone.append((job_id.decode(), token))
            continue
        kind, key, priority, crashes, most, timeout, sent, ready = facts
        headers, _, body = data.partition(b"\n")
        found.append(
            Delivery(
                queue,
                job_id.decode(),
                token,
                attempts,
                body,
                kind,
                _decode_headers(headers) if headers else NO_HEADERS,
                key,
                priority,
                crashes,
                most,
                timeout,
                sent,
                leased,
                ready,
            )
        )
    return found, gone


def _plain(facts: bytes) -> tuple[Any, ...]:
    """Return the facts of a plain job out of its text (lua/plain.lua)."""
    sent, priority, most, timeout, lane = facts.split(b" ", 4)
    return _facts(lane.decode(), (sent, None, None, most, timeout, priority, None, None))


def _facts(lane: str, its: Sequence[Any]) -> tuple[Any, ...]:
    """Return what a delivery has of a job besides what is new with its grant."""
    sent, key, crashes, most, timeout, priority, due, ready = its
    return (
        lane.partition(":")[2],
        key and key.decode(),
        int(priority) if priority else 0,
        int(crashes) if crashes else 0,
        int(most) if most else None,
        float(timeout) if timeout else None,
        int(sent),
        int(ready or due or sent),
    )
