"""From a URL to the store behind it. A store's module, and its driver, is imported when its URL is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from holdfast.capabilities import Logs
from holdfast.clock import SYSTEM, Clock
from holdfast.config import StoreURL
from holdfast.contract import LogBackend, QueueBackend
from holdfast.errors import ConfigError, NotSupported, nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_REDIS = "holdfast.stores.redis:open_redis"
_REDIS_WAYS = ("", "s", "+unix", "+sentinel", "s+sentinel", "+cluster", "s+cluster")
BUILT_IN = {
    "memory": "holdfast.stores.memory:open_memory",
    "disk": "holdfast.stores.disk:open_disk",
    "sqlite": "holdfast.stores.sqlite:open_sqlite",
    **{f"{server}{way}": _REDIS for server in ("redis", "valkey") for way in _REDIS_WAYS},
}
ENTRY_POINTS = "holdfast.stores"
"""Where other distributions register a scheme: an entry point of this group, named as the scheme."""
LOGS_BUILT_IN = {"disk": "holdfast.stores.disk:open_disk_logs"}
"""Schemes whose logs can be opened without any queue."""
LOGS_ENTRY_POINTS = "holdfast.logs"
"""Where other distributions register such a scheme; its function returns a ``LogBackend``."""


class Opener(Protocol):
    """What a scheme names: a function that checks the URL and opens the store, or raises ``ConfigError``.

    One that can work through a client or pool of the program's own has a keyword ``client`` or ``pool`` besides, None
    by default, and says in its docstring what that is to be. To one without, ``App(client=…)`` is ``NotSupported``.
    """

    def __call__(self, url: StoreURL, *, clock: Clock) -> QueueBackend: ...


class LogOpener(Protocol):
    """The same for a scheme whose logs need no queues."""

    def __call__(self, url: StoreURL, *, clock: Clock) -> LogBackend: ...


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


def open_logs(url: StoreURL, *, clock: Clock = SYSTEM) -> LogBackend:
    """Open the logs of the store that ``url`` names; closing them closes whatever was opened for them.

    ``ConfigError`` lists the known schemes when this is none of them, ``NotSupported`` tells of a store without logs.
    """
    opener = _registered(url.scheme, LOGS_BUILT_IN, LOGS_ENTRY_POINTS)
    if opener is not None:
        return cast("LogOpener", opener)(url, clock=clock)
    store = open_store(url, clock=clock)
    if isinstance(store, Logs):
        return store.open_logs()
    store.close()
    raise NotSupported(f"{url.text}: the store {url.scheme!r} holds no logs; those of disk:, sqlite: and memory: do")


def holds_logs_alone(url: StoreURL) -> bool:
    """Tell whether what ``url`` names holds logs and no queues."""
    return (
        _registered(url.scheme, BUILT_IN, ENTRY_POINTS) is None
        and _registered(url.scheme, LOGS_BUILT_IN, LOGS_ENTRY_POINTS) is not None
    )


def known_schemes() -> list[str]:
    """Return the schemes of all stores that are installed, by name."""
    return sorted({*BUILT_IN, *LOGS_BUILT_IN, *_others(ENTRY_POINTS), *_others(LOGS_ENTRY_POINTS)})


def _opener(url: StoreURL) -> Opener:
    opener = _registered(url.scheme, BUILT_IN, ENTRY_POINTS)
    if opener is not None:
        return cast("Opener", opener)
    if _registered(url.scheme, LOGS_BUILT_IN, LOGS_ENTRY_POINTS) is not None:
        raise NotSupported(f"{url.text}: the store {url.scheme!r} holds logs, no queues; give it as App(…, logs=…)")
    known = sorted(BUILT_IN | _others(ENTRY_POINTS))
    plain = [name for name in known if "+" not in name and name.removesuffix("s") not in {*known} - {name}]
    raise ConfigError(
        f"{url.text}: no store answers to {url.scheme!r}{nearest(url.scheme, known)}; known: {', '.join(plain)}"
    )


def _registered(scheme: str, built_in: Mapping[str, str], group: str) -> object | None:
    if scheme in built_in:
        module, _, name = built_in[scheme].partition(":")
        return cast("object", getattr(import_module(module), name))
    others = _others(group)
    return others[scheme].load() if scheme in others else None


def _others(group: str) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # costs start-up time, and is needed for schemes of others only

    return {point.name: point for point in entry_points(group=group)}
