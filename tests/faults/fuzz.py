"""Messages that nobody wrote by hand: ``python -m tests.faults.fuzz SEED COUNT`` sends them, and tells of each."""

import json
import random
import sys
from contextlib import suppress

import msgspec

from holdfast.config import QueueSettings
from holdfast.errors import UsageError
from holdfast.message import Message, checked
from tests.faults.history import QUEUE, Offered, Sent
from tests.faults.tasks import app, notes

NUMBERS = [0, -1, 2**31, 2**63, 2**64, -(2**70), 1.5, 1e308, -0.0, True]
TEXTS = ["", "a", "ü𝄞", "\0", "\ud7ff", "'; DROP TABLE jobs; --", "{}", "a" * 10_000]


def value(draw, depth=0):
    """Return anything that JSON can say."""
    kind = draw.randrange(7 if depth < 5 else 5)
    if kind == 5:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 6:
        return {draw.choice(TEXTS): value(draw, depth + 1) for _ in range(draw.randrange(4))}
    return draw.choice([None, draw.choice(NUMBERS[:4]), draw.choice(NUMBERS), draw.choice(TEXTS), draw.random()])


def body(draw, packed):
    """Return arguments that fit, arguments that do not, spoiled ones, and noise."""
    kind = draw.randrange(10)
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        return b"[" * draw.choice([10, 1_000, 100_000]) + b"]" * draw.choice([0, 10, 1_000])
    arguments = {"number": draw.randrange(-1000, 1000), "text": draw.choice(TEXTS[:3])}
    if kind in {2, 3, 4}:
        arguments[draw.choice(["number", "text", "more", *TEXTS])] = value(draw)
    written = bytearray(
        msgspec.msgpack.encode(plain(arguments)) if packed != (kind == 5) else json.dumps(arguments).encode()
    )
    for _ in range(draw.choice([1, 3]) if kind == 6 else 0):
        written[draw.randrange(len(written))] = draw.randrange(256)
    return bytes(written[: len(written) // 2 if kind == 7 else None])


def plain(found):
    """Return a value without what msgpack has no form for."""
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list):
        return [plain(value) for value in found]
    return found if not isinstance(found, int) or -(2**63) <= found < 2**64 else None


def message(draw):
    """Return a message of a kind that the worker knows, with whatever else a message that can be sent may carry."""
    while True:
        kind = draw.choice(["parse", "unpack"])
        drawn = Message(
            body=body(draw, kind == "unpack"),
            kind=kind,
            key=draw.choice([None, None, "k", *TEXTS[2:5]]) or None,
            priority=draw.choice([0, 0, -100, 100, 7]),
            headers={} if draw.random() < 0.7 else dict.fromkeys(draw.sample(TEXTS, 3), draw.choice(TEXTS)),
            max_attempts=draw.choice([1, 2, 3]),
            timeout=draw.choice([None, None, None, 0.5, 1e9]),
        )
        with suppress(UsageError):
            return checked(drawn)


def main(seed, count):
    draw = random.Random(seed)
    with app:
        app.queue(QUEUE).declare(QueueSettings(done_most=1_000_000, dead_most=1_000_000))
        for first in range(0, count, 200):
            batch = [message(draw) for _ in range(min(200, count - first))]
            notes.note(*(Offered(id=one.id, key=one.key) for one in batch))
            stored = app.queue(QUEUE).send_many(batch)
            notes.note(Sent(ids=tuple(one.id for one in stored)))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
