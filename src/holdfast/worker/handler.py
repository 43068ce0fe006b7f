"""What a worker needs to run jobs of one kind: the user's callable, wrapped by whoever registered it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.delivery import Delivery
from holdfast.errors import Undecodable
from holdfast.retry import Retry
from holdfast.worker.context import Context

DEFAULT_RETRY = Retry()


class Misfit(Undecodable):
    """The job's own body does not fit its handler. Another ``Undecodable`` that ends a run is an error like any."""


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs of ``kind`` are run.

    ``run`` decodes the body and calls the user's function; it raises ``Misfit`` when the body does not fit, and
    returns an awaitable if ``is_async``. A signal out of a task group counts when it is alone in its exception group.
    ``timeout`` (seconds) holds for messages that carry none. ``encode`` turns the value into what is kept
    ``keep_result`` seconds; without it no value is kept. ``stop_when_lost`` cancels an async handler as soon as its
    lease is lost. ``origin`` stands for the App whose calls may follow its runs; None: any.
    """

    kind: str
    run: Callable[[Delivery, Context], Any]
    is_async: bool = False
    retry: Retry = DEFAULT_RETRY
    timeout: float | None = None
    encode: Callable[[Any], bytes] | None = None
    keep_result: float = 0.0
    stop_when_lost: bool = False
    origin: object = None
