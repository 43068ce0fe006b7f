"""A group of readers of a log: its members, how far it is behind, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal, get_args

import msgspec

from holdfast.contract import LogBackend
from holdfast.delivery import HolderInfo
from holdfast.errors import UsageError
from holdfast.logged import Ends, Lag, Start, WhenGone
from holdfast.logs.beats import Beats
from holdfast.logs.members import Member, check_offsets
from holdfast.message import check_whole, instant

End = Literal["earliest", "latest"]
Begin = End | datetime | int
"""Where a new group begins: at an end of the log, at a time, or at an offset of each partition."""


class GroupLag(msgspec.Struct, frozen=True):
    """How far a group is behind: in each of the ``partitions``, and in all."""

    partitions: tuple[Lag, ...]

    @property
    def messages(self) -> int:
        """How many messages it has not committed."""
        return sum(lag.messages for lag in self.partitions)

    @property
    def age(self) -> float | None:
        """The seconds since the oldest of them was appended, None when there is none."""
        return max((lag.age for lag in self.partitions if lag.age is not None), default=None)


class Group:
    """A group as its users see it. Thread-safe; touches no store before it is used.

    What is asked of a group that nobody has joined or sought is a ``UsageError`` that names those there are.
    """

    def __init__(
        self,
        log: str,
        name: str,
        store: Callable[[], LogBackend],
        beats: Callable[[], Beats],
        *,
        start: Begin = "earliest",
        when_gone: WhenGone = "error",
    ) -> None:
        if not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise UsageError(f"the name of a group is a text of 1 to 255 characters, not {name!r:.80}")
        if when_gone not in get_args(WhenGone):
            raise UsageError(f"when_gone is one of {', '.join(get_args(WhenGone))}, not {when_gone!r:.80}")
        self.log, self.name = log, name
        self._store, self._beats = store, beats
        self._start, self._when_gone = start_of(start), when_gone

    def __repr__(self) -> str:
        return f"<Group {self.name!r} of log {self.log!r}>"

    def member(self) -> Member:
        """Join and return a member, which its owner closes: ``with group.member() as member:``.

        Members share the partitions of the log. It is kept alive from a thread of the App's, so a batch may take as
        long as it likes. The group is made if there is none; its offsets in all partitions are fixed on return.
        """
        beats = self._beats()

        def join(store: LogBackend, holder: HolderInfo) -> Member:
            joined = store.join(self.log, self.name, holder, start=self._start, when_gone=self._when_gone)
            return Member(self.log, self.name, joined, beats.left)

        self._store()  # the log is declared, if it is to be
        return beats.join(join)

    # -- how far it is --------------------------------------------------------------------------------------------

    def offsets(self) -> dict[int, int]:
        """Return what is committed: the offset to be read next in each partition."""
        return {lag.partition: lag.next for lag in self.lag().partitions}

    def lag(self) -> GroupLag:
        """Return how far the group is behind what its log holds. Scans nothing."""
        return GroupLag(tuple(self._store().lag(self.log, self.name)))

    def has_lag(self, more_than: int = 0) -> bool:
        """Tell whether the group is behind by more messages than that."""
        return self.lag().messages > more_than

    # -- where it goes on -----------------------------------------------------------------------------------------

    def seek(
        self,
        *,
        to: End | None = None,
        time: datetime | None = None,
        offset: int | None = None,
        offsets: Mapping[int, int] | None = None,
        partition: int | None = None,
    ) -> dict[int, int]:
        """Let the group go on elsewhere: ``to`` an end, at the first message from a ``time`` on, at an ``offset``, or
        at ``offsets`` by partition. Return where it is then, in the partitions it was sought in.

        All partitions are meant, or the one given. What members have polled before can no longer be committed: that
        raises ``LeaseLost``. ``OffsetGone``, and nothing has changed, for an offset that the log does not hold. Makes
        the group if there is none. Durable on return.
        """
        if sum(one is not None for one in (to, time, offset, offsets)) != 1:
            raise UsageError(f"{self!r}: seek one of to='earliest' or 'latest', time=, offset= and offsets=")
        store = self._store()
        if offsets is not None:
            sought = self._sought(offsets, partition)
        else:
            sought = {one.partition: self._place(store, one, to, time, offset) for one in self._ends(store, partition)}
        store.seek(self.log, self.name, sought)
        return sought

    def _sought(self, offsets: Mapping[int, int], partition: int | None) -> dict[int, int]:
        if partition is not None:
            raise UsageError(f"{self!r}: offsets say which partitions are meant, without partition=")
        if not isinstance(offsets, Mapping):
            raise UsageError(f"{self!r}: seek(offsets={{0: 3}}), an offset by partition, not {offsets!r:.80}")
        check_offsets(offsets, f"{self!r}: seek")
        return dict(offsets)

    def _place(self, store: LogBackend, ends: Ends, to: str | None, time: datetime | None, offset: int | None) -> int:
        if offset is not None:
            check_whole(offset, f"{self!r}: seek: the offset", 0)
            return offset
        if time is not None:
            return store.find(self.log, ends.partition, instant(time, "time"))
        if to not in get_args(End):
            raise UsageError(f"{self!r}: seek to='earliest' or to='latest', not {to!r:.80}")
        return ends.first if to == "earliest" else ends.next

    def _ends(self, store: LogBackend, partition: int | None) -> list[Ends]:
        ends = store.ends(self.log)
        chosen = [one for one in ends if partition in (None, one.partition)]
        if not chosen:
            raise UsageError(f"log {self.log!r} has no partition {partition!r}; it has {len(ends)}, from 0 on")
        return chosen

    def forget(self) -> bool:
        """Remove the group with its offsets; tell whether there was one. Its members lose their partitions."""
        return self._store().forget(self.log, self.name)


def start_of(begin: Begin) -> Start:
    """Return where a group begins, from what users write; ``UsageError`` for anything else."""
    if isinstance(begin, datetime):
        return Start("time", instant(begin, "start"))
    if begin == "earliest" or begin == "latest":  # noqa: PLR1714 - so that types are narrowed
        return Start(begin)
    check_whole(begin, "start, if it is not 'earliest', 'latest' or a time,", 0)
    return Start("offset", begin)
