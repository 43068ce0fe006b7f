"""The child of a fork that a handler has made. It inherits the worker as it was, and must not go on with it: it ends
where its handler ends, as a program would.
"""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress

from holdfast.worker.context import CURRENT, Context

_forked: Context | None = None
"""The run that has made the fork which this process is the child of."""


def _after_fork() -> None:
    global _forked  # noqa: PLW0603 - it is about the process
    _forked = CURRENT.get(None)


os.register_at_fork(after_in_child=_after_fork)


def end_if_forked(context: Context, error: BaseException | None = None) -> None:
    """End this process if it is the child of a fork that this run has made; the run itself goes on in the parent.

    Nothing is cleaned up: what there is to clean up is the parent's. An ``error`` is printed, ``SystemExit`` obeyed.
    """
    if context is not _forked:
        return
    code = 0 if error is None else 1
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
    elif error is not None:
        traceback.print_exception(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a job may have closed it
            stream.flush()
    os._exit(code & 0xFF)
