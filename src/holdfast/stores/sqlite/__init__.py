"""The SQLite store: durable queues in one file, shared by the processes of one machine. The default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from holdfast.clock import Clock
from holdfast.config import StoreURL
from holdfast.errors import ConfigError
from holdfast.stores.sqlite.backend import SqliteBackend
from holdfast.stores.sqlite.connection import Driver, Location, Sync

__all__ = ["SqliteBackend", "open_sqlite"]


def open_sqlite(url: StoreURL, *, clock: Clock, client: Callable[[str], Any] | None = None) -> SqliteBackend:
    """Open the file of ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, made when first used.

    ``?driver=apsw|sqlite3`` chooses the library, ``?sync=full|normal`` whether a send waits for the disk,
    ``?busy=30`` how many seconds to wait while other processes write.

    ``client`` opens each connection instead: a function that takes the path and returns a connection of the URL's
    driver, with extensions loaded or a key given. It is called again whenever one is needed, in any thread; those of
    sqlite3 need ``check_same_thread=False``. Waiting, transactions and rows of these connections are the store's.
    """
    if client is not None and not callable(client):
        raise ConfigError(f"{url.text}: client= is a function that takes a path and opens it, not {client!r:.80}")
    url.check_options({"driver", "sync", "busy"})
    if url.host or not url.path or url.path == ":memory:":
        raise ConfigError(f"{url.text}: write sqlite:///relative.db or sqlite:////absolute.db (or memory: for none)")
    for name, known in (("driver", get_args(Driver)), ("sync", get_args(Sync))):
        if url.options.get(name, known[0]) not in known:
            raise ConfigError(f"{url.text}: {name} must be {' or '.join(known)}")
    try:
        busy = float(url.options.get("busy", 30))
    except ValueError:
        raise ConfigError(f"{url.text}: busy must be seconds") from None
    place = Location(
        Path(url.path).absolute(),
        driver="sqlite3" if url.options.get("driver") == "sqlite3" else "apsw",
        sync="normal" if url.options.get("sync") == "normal" else "full",
        busy=busy,
        client=client,
    )
    return SqliteBackend(place, clock)
