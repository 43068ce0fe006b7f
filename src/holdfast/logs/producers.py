"""A handle on a log whose appends may be repeated: the log recognises them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from holdfast.contract import LogBackend
from holdfast.errors import BackendError, Closed, HoldfastError, UsageError
from holdfast.logged import Producer, StoredAt
from holdfast.logs.entries import Appendable, Entry, Share, entries, entry, receipts
from holdfast.message import check_whole
from holdfast.retry import Retry

RETRY = Retry(attempts=None, base=0.05, cap=1.0, jitter="equal")
"""How long is waited before a failed append is repeated."""
MOST_SEQUENCE = (1 << 32) - 1
"""What a store keeps of a sequence; behind it, a new epoch begins."""
MOST_EPOCH = (1 << 16) - 1


class Identity(NamedTuple):
    """Who appends: ``Producer`` without its place in the sequence."""

    id: int
    epoch: int


def identity(id: int | str | None, epoch: int | None) -> Identity:
    """Return what users say of a producer; ``UsageError`` tells what does not fit."""
    if id is None:
        if epoch is not None:
            raise UsageError("an epoch is for a producer with an id of its own: log.producer('importer', epoch=7)")
        return Identity(secrets.randbits(63) + 1, 0)
    if epoch is None:
        raise UsageError(
            f"producer {id!r} needs an epoch that rises with each of its lives: log.producer({id!r}, epoch=1); "
            "what begins again at the same epoch would be taken for a repetition"
        )
    check_whole(epoch, "the epoch of a producer", 0, MOST_EPOCH)
    if isinstance(id, str):
        return Identity(int.from_bytes(sha256(id.encode()).digest()[:8], "little") or 1, epoch)
    check_whole(id, "the id of a producer", 1, (1 << 64) - 1)
    return Identity(id, epoch)


class Appending(Protocol):
    """What a producer needs of its log."""

    name: str

    def _shares(self, given: Sequence[Entry], store: LogBackend) -> list[Share]: ...

    def _store(self) -> LogBackend: ...


class LogProducer:
    """Appends that are stored once, however often they are made. Thread-safe; its appends are made one by one.

    Each carries the producer's id, its epoch and its place in the sequence, by which the log recognises one that it
    has, as far back as the last five of a partition: its receipt is a ``duplicate``. So when an append raises
    ``BackendError`` with ``outcome_unknown``, :meth:`repeat` makes the same again, and until then it is in doubt: the
    producer takes nothing else.
    """

    def __init__(self, log: Appending, who: Identity, sequences: Mapping[int, int], timeout: float) -> None:
        self.id, self.epoch = who
        """Under which the log knows it."""
        self._log, self._timeout = log, timeout
        self._lock = threading.Lock()
        self._sequences = dict(sequences)
        self._doubtful: list[Share] | None = None
        self._stored: list[StoredAt] = []
        self._may_be_stored = False  # the one that comes next: also when a later try has failed for sure
        self._closed = threading.Event()

    def __repr__(self) -> str:
        return f"<LogProducer {self.id} of log {self._log.name!r}, epoch {self.epoch}>"

    @property
    def sequences(self) -> dict[int, int]:
        """How many messages of this epoch each partition has, as far as is known: to go on there in another life."""
        return dict(self._sequences)

    def append(
        self,
        body: bytes,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        partition: int | None = None,
    ) -> StoredAt:
        """Append one message, as ``Log.append`` does."""
        return self._append([entry(self._log.name, body, key, headers, partition)])[0]

    def append_many(self, messages: Iterable[Appendable], *, partition: int | None = None) -> list[StoredAt]:
        """Append messages, as ``Log.append_many`` does; ``repeat`` also appends what it did not come to."""
        given = entries(self._log.name, messages, partition)
        return self._append(given) if given else []

    def repeat(self) -> list[StoredAt]:
        """Make the append again that is in doubt and return its receipts, in order; empty when there is none."""
        with self._lock:
            self._check()
            return self._go_on() if self._doubtful is not None else []

    def close(self) -> None:
        """Take no more, and let an append that is being repeated be the last. What is in doubt stays so. May be
        repeated.
        """
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- one by one -----------------------------------------------------------------------------------------------

    def _append(self, given: Sequence[Entry]) -> list[StoredAt]:
        with self._lock:
            self._check()
            if self._doubtful is not None:
                raise UsageError(f"{self!r}: the append before is in doubt; make it again first: producer.repeat()")
            self._doubtful, self._stored = self._log._shares(given, self._log._store()), []
            return self._go_on()

    def _check(self) -> None:
        if self._closed.is_set():
            raise Closed(f"{self!r} is closed")

    def _go_on(self) -> list[StoredAt]:
        """Append from where the last try ended; forget it all when nothing of it is in doubt."""
        shared = self._doubtful or []
        try:
            for share in shared[len(self._stored) :]:
                self._stored.append(self._insist(share))
        except Exception:
            if not self._stored and not self._may_be_stored:
                self._doubtful = None
            raise
        self._doubtful = None
        return receipts(shared, self._stored)

    def _insist(self, share: Share) -> StoredAt:
        end, attempt = time.monotonic() + self._timeout, 0
        while True:
            try:
                return self._try(share)
            except BackendError as error:
                attempt += 1
                pause = RETRY.delay(attempt)
                if not (error.retryable or error.outcome_unknown) or time.monotonic() + pause > end:
                    raise
                if self._closed.wait(pause):
                    raise

    def _try(self, share: Share) -> StoredAt:
        was = self._may_be_stored
        self._may_be_stored = True  # unless the store says otherwise: an interrupt too may come in between
        try:
            stored = self._once(share)
        except HoldfastError as error:
            self._may_be_stored = was or (isinstance(error, BackendError) and error.outcome_unknown)
            raise
        self._may_be_stored = False
        return stored

    def _once(self, share: Share) -> StoredAt:
        sequence, number = self._sequences.get(share.partition, 0), len(share.columns)
        if sequence + number > MOST_SEQUENCE:
            self.epoch, self._sequences, sequence = self.epoch + 1, {}, 0
        producer = Producer(self.id, self.epoch, sequence)
        stored = self._log._store().append(self._log.name, share.partition, share.columns, producer=producer)
        self._sequences[share.partition] = sequence + number
        return stored
