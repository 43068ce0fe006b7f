"""Settings parsed into values: store URLs and what a queue may be told. What does not parse is a ``ConfigError``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote

import msgspec

from holdfast.errors import ConfigError, nearest

DAY = 86_400.0
CENTURY = 3_200_000_000.0
MIB = 1 << 20


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue can be told. Lengths are seconds, sizes bytes.

    Of ended jobs those are kept that are younger than ``…_for`` and among the newest ``…_most``; ``done_…`` holds for
    done, cancelled and expired jobs alike, ``dead_…`` for dead letters; 0 drops at the next tidy. A kept result
    keeps its job. ``dedupe_window`` is how long the id of an ended job is recognised at least. ``limit`` is how many
    jobs may wait (scheduled and ready) before a send raises ``QueueFull``; None for no limit. Of each schedule the
    newest ``ticks_most`` ticks are kept, and those younger than ``ticks_for``; None keeps all.

    ``labels`` and ``group`` are for choosing queues; ``codec`` is that of the tasks declared for the queue that choose
    none.
    """

    max_body: int = MIB
    min_body: int = 0
    done_for: float = DAY
    done_most: int = 10_000
    dead_for: float = 30 * DAY
    dead_most: int = 100_000
    dedupe_window: float = 3600.0
    limit: int | None = None
    ticks_for: float | None = 30 * DAY
    ticks_most: int | None = 1000
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    group: str = ""
    codec: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_body", "min_body", "done_most", "dead_most", "limit", "ticks_most"):
            number = getattr(self, name)
            if number is None and name in ("limit", "ticks_most"):
                continue
            if type(number) is not int or number < 0:
                also = ", or None" if name in ("limit", "ticks_most") else ""
                raise ConfigError(f"queue setting {name} must be a whole number, 0 or more{also}, not {number!r}")
        for name in ("done_for", "dead_for", "dedupe_window", "ticks_for"):
            length = getattr(self, name)
            if length is None and name == "ticks_for":
                continue
            if not 0 <= length <= CENTURY:
                raise ConfigError(f"queue setting {name} must be 0 to {CENTURY:.0f} seconds, not {length!r}")
        if not isinstance(self.labels, Mapping) or not all(
            isinstance(text, str) for pair in self.labels.items() for text in pair
        ):
            raise ConfigError(f"queue setting labels must map texts to texts, not {self.labels!r}")
        for name in ("group", "codec"):
            text = getattr(self, name)
            if not isinstance(text, str) and (name, text) != ("codec", None):
                raise ConfigError(f"queue setting {name} must be a text, not {text!r}")


class StoreURL(msgspec.Struct, frozen=True):
    """A store's URL taken apart; ``text`` is what the user wrote, passwords masked."""

    scheme: str
    text: str
    path: str = ""
    host: str = ""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)

    def check_options(self, known: Iterable[str]) -> None:
        """Raise ``ConfigError`` for an option that is not ``known``, suggesting the nearest."""
        names = sorted(known)
        for name in self.options:
            if name not in names:
                listed = ", ".join(names) or "none"
                raise ConfigError(f"{self.text}: unknown option {name!r}{nearest(name, names)}; known: {listed}")


def parse_url(text: str) -> StoreURL:
    """Take a store URL apart: ``memory:``, ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``x://host/…?a=b``.

    ``ConfigError`` when there is no scheme.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or not scheme.replace("+", "").replace("-", "").isalnum():
        raise ConfigError(f"{text!r} is not a store URL; write for example sqlite:///jobs.db or memory:")
    rest, _, query = rest.partition("?")
    host, path = ("", rest) if not rest.startswith("//") else rest[2:].partition("/")[::2]
    return StoreURL(
        scheme=scheme.lower(),
        text=_masked(text),
        path=unquote(path),
        host=host,
        options=dict(parse_qsl(query, keep_blank_values=True)),
    )


def _masked(text: str) -> str:
    head, at, tail = text.rpartition("@")
    if not at or ":" not in head.partition("//")[2]:
        return text
    return f"{head.rpartition(':')[0]}:***@{tail}"
