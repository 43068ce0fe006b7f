"""When to try again: a value that answers, for one error and attempt, "after how long, or not at all"."""

from __future__ import annotations

import random
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from holdfast.clock import SYSTEM, Clock
from holdfast.errors import UsageError

Jitter = Literal["full", "equal", "none"]
Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter.

    Attempt n is followed by a wait of ``base * factor ** (n - 1)`` seconds, at most ``cap``, spread by ``jitter``:
    ``full`` draws from 0 to it, ``equal`` from half of it to it, ``none`` takes it as it is. (Full jitter spreads a
    thundering herd best: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.)

    ``on`` and ``never`` are exception classes or a predicate; an error that ``never`` matches, or ``on`` does not,
    is not retried. ``attempts=None`` means no limit; ``max_age`` ends retrying that many seconds after the send.
    A value may be shared by any number of threads.
    """

    attempts: int | None = 5
    base: float = 1.0
    factor: float = 2.0
    cap: float = 600.0
    jitter: Jitter = "full"
    on: Errors = (Exception,)
    never: Errors = ()
    max_age: float | None = None

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise UsageError(f"Retry attempts must be 1 or more, or None for no limit, not {self.attempts!r}")
        if self.base < 0 or self.factor < 1 or self.cap < 0:
            raise UsageError("Retry needs base >= 0, factor >= 1 and cap >= 0 seconds")
        if self.jitter not in ("full", "equal", "none"):
            raise UsageError(f"Retry jitter must be 'full', 'equal' or 'none', not {self.jitter!r}")

    def wants(self, error: BaseException, *, age: float = 0.0) -> bool:
        """Tell whether ``error`` is one to try again, ``age`` seconds after the job was sent."""
        if self.max_age is not None and age >= self.max_age:
            return False
        return _matches(error, self.on) and not _matches(error, self.never)

    def delay(self, attempt: int, *, draw: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after ``attempt`` (1 is the first); ``draw`` yields from 0 to 1."""
        try:
            full = min(self.cap, self.base * self.factor ** (max(attempt, 1) - 1))
        except OverflowError:
            full = self.cap
        if self.jitter == "none":
            return full
        return full * draw() if self.jitter == "full" else full * (1 + draw()) / 2


def wished_delay(error: BaseException, clock: Clock = SYSTEM) -> float | None:
    """Return the seconds that the error itself asks to wait, or None.

    Looks at a ``delay`` attribute, then at an HTTP ``Retry-After`` header (seconds or a date) on the error's
    ``response``, as requests, httpx and urllib carry it.
    """
    delay = getattr(error, "delay", None)
    if isinstance(delay, (int, float)) and not isinstance(delay, bool):
        return max(0.0, float(delay))
    headers: Any = getattr(getattr(error, "response", error), "headers", None)
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    return None if value is None else _retry_after(str(value), clock)


def _retry_after(value: str, clock: Clock) -> float | None:
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.wall() / 1000)
    except ValueError:
        return None


def _matches(error: BaseException, errors: Errors) -> bool:
    if isinstance(errors, (type, tuple)):
        return isinstance(error, errors)
    return errors(error)
