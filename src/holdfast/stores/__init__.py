"""From a URL to the store behind it. A store's module, and its driver, is imported when its URL is opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

from holdfast.clock import SYSTEM, Clock
from holdfast.config import StoreURL
from holdfast.contract import QueueBackend
from holdfast.errors import ConfigError, NotSupported, nearest

BUILT_IN = {
    "memory": "holdfast.stores.memory:open_memory",
    "sqlite": "holdfast.stores.sqlite:open_sqlite",
}
ENTRY_POINTS = "holdfast.stores"
"""Where other distributions register a scheme: an entry point of this group, named as the scheme."""


class Opener(Protocol):
    """What a scheme names: a function that checks the URL and opens the store, or raises ``ConfigError``.

    One that can work through a client or pool of the program's own has a keyword ``client`` or ``pool`` besides, None
    by default, and says in its docstring what that is to be. To one without, ``App(client=…)`` is ``NotSupported``.
    """

    def __call__(self, url: StoreURL, *, clock: Clock) -> QueueBackend: ...


def open_store(url: StoreURL, *, clock: Clock = SYSTEM, client: object = None, pool: object = None) -> QueueBackend:
    """Open the store that ``url`` names; ``ConfigError`` lists the known schemes when this is none of them.

    ``NotSupported``, before any I/O, when that store takes no such ``client`` or ``pool``.
    """
    opener, own = _opener(url), {"client": client, "pool": pool}
    given = {name: value for name, value in own.items() if value is not None}
    if given:
        from inspect import signature  # costs start-up time, and is needed for those who bring their own only

        taken = [name for name in own if name in signature(opener).parameters]
        for name in given:
            if name not in taken:
                takes = f"only {' and '.join(f'{one}=' for one in taken)}" if taken else "neither client= nor pool="
                raise NotSupported(f"{url.text}: the store {url.scheme!r} takes no {name}=, {takes}")
    return cast("Callable[..., QueueBackend]", opener)(url, clock=clock, **given)


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
