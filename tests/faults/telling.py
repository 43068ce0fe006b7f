"""How handlers and workers of a process tell what they do, in any store."""

import asyncio
from contextlib import contextmanager

from holdfast.events import Done, Lost
from tests.faults.history import Accepted, Ended, Refused, Started


class Teller:
    """``with teller(ctx):`` in a handler tells of its start and its end.

    What the store has taken or refused of the worker of ``app`` is told by listeners.
    """

    def __init__(self, notes, app):
        self._note = notes.note
        app.listen(Done, lambda event: notes.note(Accepted(id=event.job.id, token=event.job.token)))
        app.listen(Lost, lambda event: notes.note(Refused(id=event.job.id, token=event.job.token)))

    @contextmanager
    def __call__(self, ctx):
        outcome = "returned"
        self._note(Started(**_run(ctx)))
        try:
            yield
            if ctx.remaining() == 0:
                outcome = "failed"  # it went over its limit, and what it returns does not count
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            self._note(Ended(id=ctx.id, token=ctx.token, outcome=outcome))


def _run(job):
    return {"id": job.id, "token": job.token, "attempt": job.attempt}
