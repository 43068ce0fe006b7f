"""From a URL to the store behind it. A store's module, and its driver, is imported when its URL is opened."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from holdfast.clock import SYSTEM, Clock
from holdfast.config import StoreURL
from holdfast.contract import QueueBackend
from holdfast.errors import ConfigError, nearest

BUILT_IN = {
    "memory": "holdfast.stores.memory:open_memory",
    "sqlite": "holdfast.stores.sqlite:open_sqlite",
}
ENTRY_POINTS = "holdfast.stores"
"""Where other distributions register a scheme: an entry point of this group, named as the scheme."""


class Opener(Protocol):
    """What a scheme names: a function that checks the URL and opens the store, or raises ``ConfigError``."""

    def __call__(self, url: StoreURL, *, clock: Clock) -> QueueBackend: ...


def open_store(url: StoreURL, *, clock: Clock = SYSTEM) -> QueueBackend:
    """Open the store that ``url`` names; ``ConfigError`` lists the known schemes when this is none of them."""
    return _opener(url)(url, clock=clock)


def _opener(url: StoreURL) -> Opener:
    if url.scheme in BUILT_IN:
        module, _, name = BUILT_IN[url.scheme].partition(":")
        return cast("Opener", getattr(import_module(module), name))
    from importlib.metadata import entry_points  # costs start-up time, and is needed for schemes of others only

    others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if url.scheme in others:
        return cast("Opener", others[url.scheme].load())
    known = sorted(BUILT_IN | others)
    raise ConfigError(
        f"{url.text}: no store answers to {url.scheme!r}{nearest(url.scheme, known)}; known: {', '.join(known)}"
    )
