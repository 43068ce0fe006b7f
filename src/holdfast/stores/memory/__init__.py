"""The memory store: the pure machine behind one lock. The reference for all others, and the store of tests."""

from __future__ import annotations

from holdfast.clock import Clock
from holdfast.config import StoreURL
from holdfast.errors import ConfigError
from holdfast.stores.memory.backend import MemoryBackend

__all__ = ["MemoryBackend", "open_memory"]


def open_memory(url: StoreURL, *, clock: Clock) -> MemoryBackend:
    """Open a new, empty store: ``memory:``, optionally with ``?max_jobs=`` and ``?max_bytes=``."""
    url.check_options({"max_jobs", "max_bytes"})
    if url.path or url.host:
        raise ConfigError(f"{url.text}: the memory store has no path; write memory:")
    try:
        limits = {name: int(value) for name, value in url.options.items()}
    except ValueError:
        raise ConfigError(f"{url.text}: max_jobs and max_bytes are whole numbers") from None
    return MemoryBackend(clock, **limits)
