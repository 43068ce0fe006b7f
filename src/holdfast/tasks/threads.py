"""Where the plain providers of async handlers run: in threads, since they may block and the loop is everybody's."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MOST = 40
"""How many may block at once before others wait: as many as in Starlette. Threads are made when they are needed."""


class Threads:
    """One set of threads. Providers and their cleanups need one each: or all threads could wait for a connection that
    only a cleanup gives back.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the function returns, called in a thread that has the caller's variables.

        A thread cannot be stopped: a caller that is cancelled goes on to wait, and is cancelled then.
        """
        call: Callable[[], R] = partial(_guarded, function, *args, **kwargs)
        running = asyncio.get_running_loop().run_in_executor(self._executor(), contextvars.copy_context().run, call)
        cancelled: asyncio.CancelledError | None = None
        while not running.done():
            try:
                await asyncio.wait([running])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            running.exception()  # nobody will ask for it
            raise cancelled
        return running.result()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(MOST, thread_name_prefix=self._name)
            return self._pool

    def close(self) -> None:
        """Let the threads end; they are made again when they are needed again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


def _guarded(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:  # which no future can carry
        raise RuntimeError(f"{function!r} raised StopIteration") from error
