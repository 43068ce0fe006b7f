"""The disk store: a directory of logs, and of queues whose journals are logs of the same format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from holdfast.clock import Clock
from holdfast.config import StoreURL
from holdfast.errors import ConfigError
from holdfast.stores.disk.logs import DiskLogs
from holdfast.stores.disk.options import PartitionOptions, Sync
from holdfast.stores.disk.queue import DiskQueues
from holdfast.stores.file_systems import NETWORK_FILE_SYSTEMS, file_system
from holdfast.stores.warned import warn

__all__ = ["DiskLogs", "DiskQueues", "disk_options", "open_disk", "open_disk_logs"]

OPTIONS = frozenset({"sync", "segment"})
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def open_disk(url: StoreURL, *, clock: Clock) -> DiskQueues:
    """Open the queues of a data directory, and its logs: ``disk:data``, ``disk:/var/lib/app``; made when first used.

    One process owns the queues, from its first call on. ``?sync=always|interval|os`` and ``?segment=256MiB`` are as for
    :func:`open_disk_logs`.
    """
    return DiskQueues(disk_root(url), disk_options(url), clock)


def open_disk_logs(url: StoreURL, *, clock: Clock) -> DiskLogs:
    """Open the logs of a data directory: ``disk:data``, ``disk:/var/lib/app``; made when first used.

    ``?sync=always|interval|os`` chooses when an append returns: when it is on the disk, or before; *interval* syncs
    every 100 ms and every MiB, *os* leaves it to the system. ``?segment=256MiB`` is the size of the files.
    """
    return DiskLogs(disk_root(url), clock, disk_options(url))


def disk_root(url: StoreURL) -> Path:
    """Return the data directory that a URL names; ``ConfigError`` for none."""
    if url.host or not url.path:
        raise ConfigError(f"{url.text}: write disk:directory or disk:/absolute/directory")
    path = Path(url.path).absolute()
    if path.is_file():
        raise ConfigError(f"{url.text}: {path} is a file; name a directory, which is made if need be")
    if (kind := file_system(path)) in NETWORK_FILE_SYSTEMS:
        warn(
            f"{path} lies on {kind}: what one host writes there another sees late, and locks may not hold; use a local "
            "disk, or another store"
        )
    return path


def disk_options(url: StoreURL) -> PartitionOptions:
    """Return how the logs behind a URL are written; ``ConfigError`` for what is no such option."""
    url.check_options(OPTIONS)
    sync: Sync
    match url.options.get("sync", "always"):
        case "always" | "interval" | "os" as sync:
            pass
        case other:
            raise ConfigError(f"{url.text}: sync must be {', '.join(get_args(Sync))}, not {other!r}")
    found = _SIZE.fullmatch(url.options.get("segment", "256MiB").strip())
    if found is None:
        raise ConfigError(f"{url.text}: segment is a size such as 256MiB")
    return PartitionOptions(sync=sync, segment_bytes=int(found[1]) * _UNITS[(found[2] or "").lower()])
