"""What a worker and the processes of its isolated jobs say to each other: pickled values, each after its length.

Both ends are the same code, and neither trusts the other less than itself. Only errors hold what users wrote: they are
pickled for themselves, since some cannot be, and others cannot be read again.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from holdfast.delivery import Ack, Delivery, Report, Settlement
from holdfast.errors import HoldfastError
from holdfast.failures import ErrorInfo
from holdfast.worker.handler import Isolated

_LENGTH = struct.Struct(">Q")


# -- to the process -------------------------------------------------------------------------------------------


class Log(NamedTuple):
    """The level of the root logger, and its format, pickled."""

    level: int
    formatter: bytes


class Hello(NamedTuple):
    """The first word: which handlers to find, where what they import lies, as ``multiprocessing`` has it, and how the
    worker's own log lines look, if they go to its terminal.
    """

    handlers: tuple[Isolated, ...]
    preparation: Mapping[str, Any]
    log: Log | None = None


class Flags(NamedTuple):
    """What the context of the running job is to say; ``interrupted`` asks for its end, which is enforced soon."""

    cancel_requested: bool = False
    lease_lost: bool = False
    stopping: bool = False
    interrupted: bool = False


class End(NamedTuple):
    """Clean up and end. A ``Delivery`` is run; it comes only when the one before has ended."""


# -- from the process -----------------------------------------------------------------------------------------


class Packed(NamedTuple):
    """An error on its way: what is known of it in any case, and itself, if it can be pickled."""

    info: ErrorInfo
    pickled: bytes | None


class Ready(NamedTuple):
    """It can run jobs."""


class Unfit(NamedTuple):
    """It cannot, because of this error, and ends."""

    error: Packed | None


class Acked(NamedTuple):
    """The running job was acked inside a transaction, which may be committed or not."""

    ack: Ack


class Told(NamedTuple):
    """What listeners are to hear before the settlement: of a retry after ``delay``, or of a burial for ``reason``."""

    error: Packed | None
    delay: float = 0.0
    reason: str | None = None


class Ended(NamedTuple):
    """The running job has ended."""

    settlement: Settlement
    told: tuple[Told, ...]


Order = Hello | Delivery | Flags | End
Answer = Ready | Unfit | Report | Acked | Ended


# -- bytes ----------------------------------------------------------------------------------------------------


def framed(message: Order | Answer) -> bytes:
    """Return a message as it travels."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Puts the bytes that arrive together to messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take what has arrived, and yield the messages that are whole."""
        self._bytes += data
        while len(self._bytes) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._bytes)[0]
            if len(self._bytes) < end:
                return
            with memoryview(self._bytes)[_LENGTH.size : end] as body:
                message = pickle.loads(body)
            del self._bytes[:end]
            yield message


# -- errors ---------------------------------------------------------------------------------------------------


class Elsewhere(HoldfastError):
    """Stands for an error of another process that cannot be carried over: its type, its text, its traceback."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(f"{info.type}: {info.message}")
        self.info = info


class _Trace(Exception):
    """The traceback of an error in another process, as its cause: what is pickled has none of its own."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def pack(error: BaseException | None) -> Packed | None:
    """Return an error as it can travel, whatever it is."""
    if error is None:
        return None
    pickled = None
    with suppress(Exception):
        pickled = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    return Packed(ErrorInfo.of(error), pickled)


def unpack(packed: Packed | None) -> BaseException | None:
    """Return the error itself, or what stands for it; its cause shows where it was raised."""
    if packed is None:
        return None
    error: object = None
    if packed.pickled is not None:
        with suppress(Exception):
            error = pickle.loads(packed.pickled)
    if not isinstance(error, BaseException):
        error = Elsewhere(packed.info)
    error.__cause__ = _Trace(packed.info.traceback)
    return error
