"""The Redis and Valkey store: queues on a server that many hosts share; single, behind Sentinels, or a cluster."""

from __future__ import annotations

from importlib.util import find_spec

from holdfast.clock import Clock
from holdfast.config import StoreURL
from holdfast.errors import NotSupported

for _package in ("redis", "hiredis"):
    if find_spec(_package) is None:
        raise NotSupported(f"redis:// and valkey:// need the package {_package}: pip install 'holdfast[redis]'")

from holdfast.stores.redis.backend import RedisBackend  # noqa: E402 - behind the check for its packages
from holdfast.stores.redis.options import Options  # noqa: E402 - the same

__all__ = ["RedisBackend", "open_redis"]


def open_redis(url: StoreURL, *, clock: Clock) -> RedisBackend:
    """Open the store of a ``redis://`` or ``valkey://`` URL; nothing is connected before its first use."""
    return RedisBackend(Options.of(url), clock)
