"""Settings parsed into values: store URLs, what a queue and a log may be told. What does not parse: ``ConfigError``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args
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
        check_labels("queue", self.labels)
        for name in ("group", "codec"):
            text = getattr(self, name)
            if not isinstance(text, str) and (name, text) != ("codec", None):
                raise ConfigError(f"queue setting {name} must be a text, not {text!r}")


def check_labels(what: str, labels: object) -> None:
    """Raise ``ConfigError`` when ``labels`` are none."""
    if not isinstance(labels, Mapping) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        raise ConfigError(f"{what} setting labels must map texts to texts, not {labels!r}")


Compression = Literal["none", "lz4", "zstd"]
MOST_PARTITIONS = 4096
BATCH_MOST = 64 * MIB
"""An append, packed, is never larger than this."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a log can be told. Lengths are seconds, sizes bytes; None means no limit.

    Messages go, oldest first, once they are older than ``keep_for``, or the log is larger than ``keep_bytes`` or has
    more than ``keep_most`` messages; whole appends go at a time, and never so many that less is left than that. With
    ``until_consumed`` nothing goes that a group has not read, whatever the others say. Beyond ``limit_bytes`` appends
    raise ``QueueFull`` until something goes; with ``until_consumed``, what all groups have read goes for that, the
    oldest first, until the log is half empty. A group that nobody reads for ``group_expiry`` is removed with its
    offsets. ``compression`` is of appends from now on. ``partitions`` may grow, never shrink; keys then change their
    partition. ``labels`` are for choosing logs.
    """

    partitions: int = 1
    keep_for: float | None = 7 * DAY
    keep_bytes: int | None = None
    keep_most: int | None = None
    until_consumed: bool = False
    limit_bytes: int | None = None
    group_expiry: float | None = None
    compression: Compression = "none"
    max_body: int = MIB
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("partitions", 1, MOST_PARTITIONS),
            ("max_body", 0, BATCH_MOST - MIB),
            ("keep_bytes", 0, None),
            ("keep_most", 0, None),
            ("limit_bytes", 0, None),
        ):
            number = getattr(self, name)
            if number is None and high is None:
                continue
            if type(number) is not int or number < low or (high is not None and number > high):
                span = f"{low} or more, or None" if high is None else f"from {low} to {high}"
                raise ConfigError(f"log setting {name} must be a whole number, {span}, not {number!r}")
        for name in ("keep_for", "group_expiry"):
            length = getattr(self, name)
            if length is not None and (isinstance(length, bool) or not 0 <= length <= CENTURY):
                raise ConfigError(f"log setting {name} must be 0 to {CENTURY:.0f} seconds, or None, not {length!r}")
        if self.compression not in get_args(Compression):
            choices = ", ".join(get_args(Compression))
            raise ConfigError(f"log setting compression must be one of {choices}, not {self.compression!r}")
        if type(self.until_consumed) is not bool:
            raise ConfigError(f"log setting until_consumed must be true or false, not {self.until_consumed!r}")
        check_labels("log", self.labels)

    def with_groups(self) -> LogSettings:
        """Return what retention goes by where groups read the log: there, what they have read makes room."""
        if not self.until_consumed or self.limit_bytes is None:
            return self
        half = self.limit_bytes // 2
        return msgspec.structs.replace(self, keep_bytes=half if self.keep_bytes is None else min(self.keep_bytes, half))


class StoreURL(msgspec.Struct, frozen=True):
    """A store's URL taken apart; ``text`` is what the user wrote, passwords masked."""

    scheme: str
    text: str
    path: str = ""
    host: str = ""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        """Show what may be shown: the other fields have passwords as they are."""
        return f"StoreURL({self.text!r})"

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
        raise ConfigError(f"{text!r} is not a store URL; write for example sqlite:///jobs.db, disk:data or memory:")
    rest, _, query = rest.partition("?")
    host, path = ("", rest) if not rest.startswith("//") else rest[2:].partition("/")[::2]
    return StoreURL(
        scheme=scheme.lower(),
        text=_masked(text),
        path=unquote(path),
        host=host,
        options=dict(parse_qsl(query, keep_blank_values=True)),
    )


_PASSWORD = re.compile(r"([?&]\w*password=)[^&]*")


def _masked(text: str) -> str:
    text = _PASSWORD.sub(r"\1***", text)
    head, at, tail = text.rpartition("@")
    if not at or ":" not in head.partition("//")[2]:
        return text
    return f"{head.rpartition(':')[0]}:***@{tail}"
