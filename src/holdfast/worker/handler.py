"""What a worker needs to run jobs of one kind: the user's callable, wrapped by whoever registered it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.delivery import Delivery
from holdfast.retry import Retry
from holdfast.worker.context import Context

DEFAULT_RETRY = Retry()


class Handler(msgspec.Struct, frozen=True, kw_only=True):
    """How jobs of ``kind`` are run.

    ``run`` decodes the body and calls the user's function; it raises ``Undecodable`` when the body does not fit, and
    returns an awaitable if ``is_async``. ``timeout`` (seconds) holds for messages that carry none. ``encode`` turns
    the value into what is kept ``keep_result`` seconds; without it no value is kept. ``stop_when_lost`` cancels an
    async handler as soon as its lease is lost.
    """

    kind: str
    run: Callable[[Delivery, Context], Any]
    is_async: bool = False
    retry: Retry = DEFAULT_RETRY
    timeout: float | None = None
    encode: Callable[[Any], bytes] | None = None
    keep_result: float = 0.0
    stop_when_lost: bool = False
