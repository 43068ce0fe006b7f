"""The memory store: the pure machine behind one lock. The reference for all others, and the store of tests."""

from __future__ import annotations

from holdfast.clock import Clock
from holdfast.config import StoreURL
from holdfast.errors import ConfigError
from holdfast.stores.memory.backend import MemoryBackend

__all__ = ["MemoryBackend", "open_memory"]

LIMITS = {"max_jobs", "max_bytes", "max_log_bytes"}


def open_memory(url: StoreURL, *, clock: Clock) -> MemoryBackend:
    """Open a new, empty store: ``memory:``, optionally with ``?max_jobs=``, ``?max_bytes=`` and ``?max_log_bytes=``."""
    url.check_options(LIMITS)
    if url.path or url.host:
        raise ConfigError(f"{url.text}: the memory store has no path; write memory:")
    try:
        limits = {name: int(value) for name, value in url.options.items()}
    except ValueError:
        listed = ", ".join(sorted(LIMITS))
        raise ConfigError(f"{url.text}: {listed} are whole numbers") from None
    return MemoryBackend(clock, **limits)
