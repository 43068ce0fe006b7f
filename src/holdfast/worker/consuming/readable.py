"""What can be read: the logs of an App, and the streams beside its store."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.capabilities import ForeignStreams
from holdfast.contract import LogBackend, LogMember, QueueBackend, StreamGroups
from holdfast.delivery import HolderInfo
from holdfast.errors import NotSupported
from holdfast.logged import Crashes, GroupInfo, Lag
from holdfast.logs.opening import OpenLogs
from holdfast.worker.consuming.places import Place
from holdfast.worker.consuming.reading import Reading


class Readable:
    """Any thread may ask. Raises what the stores raise, ``NotSupported`` where the App has no such place."""

    def __init__(self, store: QueueBackend, logs: OpenLogs) -> None:
        self._store, self._logs = store, logs

    def logs(self) -> LogBackend:
        """Return the open logs, opening them if need be."""
        return self._logs.store()

    def streams(self) -> StreamGroups:
        """Return the groups of streams."""
        if not isinstance(self._store, ForeignStreams):
            raise NotSupported(f"{type(self._store).__name__} has no streams: open the App on redis:// or valkey://")
        return self._store.open_streams()

    def join(self, reading: Reading, holder: HolderInfo) -> LogMember:
        """Return a new member, as the reading says."""
        log, group, start = reading.log, reading.group, reading.start
        if reading.entries is not None:
            return self.streams().join(log, group, holder, start=start, reading=reading.entries)
        return self._logs.with_log(log).join(log, group, holder, start=start, when_gone=reading.when_gone)

    def lag(self, reading: Reading) -> list[Lag]:
        """Return how far its group is behind."""
        return self._groups(is_stream=reading.is_stream).lag(reading.log, reading.group)

    def group(self, reading: Reading) -> list[GroupInfo]:
        """Return its group; empty when there is none."""
        groups = self._groups(is_stream=reading.is_stream).groups(reading.log)
        return [group for group in groups if group.name == reading.group]

    def charge(self, place: Place, *, run: int, reason: str) -> Crashes:
        """Note that a process died in this run of what stands at a place; return what is noted by now."""
        groups = self._groups(is_stream=place.is_stream)
        return groups.charge(place.log, place.group, place.partition, place.offset, run=run, reason=reason)

    def crashes(self, log: str, group: str, partition: int, *, is_stream: bool) -> dict[int, Crashes]:
        """Return, by offset, what was charged."""
        return self._groups(is_stream=is_stream).crashes(log, group, partition)

    def beat(self, holder: HolderInfo, readings: Sequence[Reading]) -> bool:
        """Keep what the holder has of logs; members of streams are kept by the beats of their store."""
        if readings and all(reading.is_stream for reading in readings):
            return True
        return self.logs().beat(holder)

    def _groups(self, *, is_stream: bool) -> LogBackend | StreamGroups:
        return self.streams() if is_stream else self.logs()
