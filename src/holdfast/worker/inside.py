"""Whether this is a process of isolated jobs, and what such a process must not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.contract import QueueBackend
from holdfast.errors import UsageError

_inside = _importing = False


@contextmanager
def entering() -> Iterator[None]:
    """Be such a process from now on; the block is to import the program, as its worker did."""
    global _inside, _importing  # noqa: PLW0603 - it is one process that all of this is about
    _inside = _importing = True
    try:
        yield
    finally:
        _importing = False


def check_worker() -> None:
    """Raise ``UsageError`` when a worker starts because the program is imported: its jobs would start more of them."""
    if _importing:
        raise UsageError(
            "a process for isolated jobs imports this program, which starts a worker: put that under "
            "if __name__ == '__main__':"
        )


def check_store(store: QueueBackend, name: str) -> None:
    """Raise ``UsageError`` for a store that lives inside one process, which is that of the worker."""
    if _inside and not store.features.multi_process:
        store.close()
        raise UsageError(
            f"{name} lives inside the process of its worker, and an isolated job cannot reach it: let its calls follow "
            "with ctx.then, or use a store that processes share, such as sqlite:///jobs.db"
        )
