"""What a worker needs to run jobs of one kind: the user's callable, wrapped by whoever registered it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

import msgspec

from holdfast.contract import QueueBackend
from holdfast.delivery import Delivery
from holdfast.errors import Undecodable
from holdfast.events import Events
from holdfast.retry import Retry
from holdfast.worker.context import Context, Origin

DEFAULT_RETRY = Retry()


class Misfit(Undecodable):
    """The job's own body does not fit its handler. Another ``Undecodable`` that ends a run is an error like any."""


class Lifespan(Protocol):
    """What lives as long as a worker, for its handlers to use. Each method is called once, in this order.

    What ``open`` or ``on_loop`` raises ends the worker with that error, before it has leased anything; ``close`` comes
    all the same. ``open`` and ``close`` are called from threads of the worker's and may block.
    """

    def open(self) -> None:
        """Make what can be made in a thread."""

    def on_loop(self) -> AbstractAsyncContextManager[None]:
        """Surround the life of the loop that async handlers run on; not called without any."""

    def close(self) -> None:
        """Clean up, after the last job."""


def lifespans(handlers: Iterable[Handler]) -> list[Lifespan]:
    """Return each lifespan once, in the order of the handlers; those of isolated ones live in other processes."""
    here = [handler.lifespan for handler in handlers if handler.isolated is None]
    return list({id(lifespan): lifespan for lifespan in here if lifespan is not None}.values())


class Found(NamedTuple):
    """A handler as a process of its own has found it, and what its runs need of their App there."""

    handler: Handler
    store: Callable[[], QueueBackend]
    events: Events


class Isolated(Protocol):
    """How a process of its own finds a handler: this is pickled and sent there, and so holds no code.

    A process whose jobs need more than ``max_memory`` bytes is killed; None: it may take what there is.
    """

    @property
    def max_memory(self) -> int | None:
        """The limit, of the memory that is resident."""

    @property
    def modules(self) -> Sequence[str]:
        """What it imports; ``__main__`` among them is the program itself."""

    def find(self, shared: dict[object, Any]) -> Found:
        """Import the modules and return the handler; ``UsageError`` says why they do not make it.

        ``shared`` is the same for all handlers of a process, which keep there what they have in common.
        """


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs of ``kind`` are run.

    ``run`` decodes the body and calls the user's function; it raises ``Misfit`` when the body does not fit, and
    returns an awaitable if ``is_async``. A signal out of a task group counts when it is alone in its exception group.
    ``timeout`` (seconds) holds for messages that carry none. ``encode`` turns the value into what is kept
    ``keep_result`` seconds; without it no value is kept. ``stop_when_lost`` cancels an async handler as soon as its
    lease is lost. ``origin`` stands for the App whose calls may follow its runs; None: any. ``lifespan`` is opened
    before the first job and closed after the last; handlers may share one. With ``isolated`` it all happens in a
    process of its own, and ``run`` and ``encode`` here are not used.
    """

    kind: str
    run: Callable[[Delivery, Context], Any]
    is_async: bool = False
    retry: Retry = DEFAULT_RETRY
    timeout: float | None = None
    encode: Callable[[Any], bytes] | None = None
    keep_result: float = 0.0
    stop_when_lost: bool = False
    origin: Origin | None = None
    lifespan: Lifespan | None = None
    isolated: Isolated | None = None
