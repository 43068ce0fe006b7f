"""The workers of a store, seen from anywhere and told what to do: ``app.workers``."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence

from holdfast.capabilities import Commandable
from holdfast.contract import QueueBackend
from holdfast.delivery import Command, HolderInfo
from holdfast.errors import NotSupported, UsageError, nearest


class AppWorkers:
    """``app.workers``: all holders that live on an App's store, whatever program they are in. Thread-safe; each method
    asks the store.

    A worker is meant by its id, its name, the number of its process or its supervisor's, or the beginning of its id.
    It hears what it is told with its next beat: within a second while it runs jobs, else within a third of its ttl; the
    last word counts.
    ``UsageError`` when nobody is meant, and when the beginning of an id fits several.
    """

    def __init__(self, store: Callable[[], QueueBackend]) -> None:
        self._open = store

    def list(self) -> builtins.list[HolderInfo]:
        """Return who holds leases, or may: workers, and callers of ``queue.lease``, which have no ``slots``."""
        return sorted(self._open().holders(), key=lambda holder: (not holder.slots, holder.id))

    def find(self, which: str) -> builtins.list[HolderInfo]:
        """Return who is meant; those of one name, or of one supervisor, may be several."""
        known = self.list()
        if found := [one for one in known if _is_meant(one, which)]:
            return found
        found = [one for one in known if which and one.id.startswith(which)]
        if len(found) > 1:
            raise UsageError(f"{which!r} begins several ids: {', '.join(one.id for one in found)}")
        if not found:
            raise UsageError(f"no worker that lives is called {which!r}{nearest(which, [one.name for one in known])}")
        return found

    def quiet(self, which: str) -> builtins.list[HolderInfo]:
        """Let it lease nothing more; what has not started goes back unburned, what runs goes on, and it stays."""
        return self.tell(self.find(which), "quiet")

    def work(self, which: str) -> builtins.list[HolderInfo]:
        """Let it lease again."""
        return self.tell(self.find(which), "work")

    def stop(self, which: str) -> builtins.list[HolderInfo]:
        """Let it end, as after SIGTERM: running jobs have its grace."""
        return self.tell(self.find(which), "stop")

    def tell(self, holders: Sequence[HolderInfo], command: Command) -> builtins.list[HolderInfo]:
        """Tell these, and return those that still live. ``UsageError``, and nobody is told, when one is no worker."""
        store = self._open()
        if not isinstance(store, Commandable):
            raise NotSupported(f"{type(store).__name__} cannot tell workers anything")
        for holder in holders:
            if not holder.slots:
                raise UsageError(f"{holder.id} is no worker but calls queue.lease, so it does what its program says")
        return [holder for holder in holders if store.command(holder.id, command)]


def _is_meant(holder: HolderInfo, which: str) -> bool:
    numbers = [str(number) for number in (holder.pid, holder.supervisor) if number]
    return which in (holder.id, holder.name, *numbers)
