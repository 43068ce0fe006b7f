"""The App that the workers of the fault suite run: ``holdfast worker tests.faults.tasks:app``.

``$HOLDFAST_URL`` is the store, ``$FAULTS_HISTORY`` the file of facts, ``$FAULTS_CLOCK`` that of a clock that is moved;
with ``$FAULTS_STORE_TIME`` the store has a time of its own, which nobody moves.
"""

import asyncio
import ctypes
import os
import threading
import time
from pathlib import Path

import holdfast.app
import holdfast.worker.worker
from holdfast import CONTEXT, App, Context, Retry
from holdfast.clock import SYSTEM
from holdfast.stores import open_store
from holdfast.testing import SharedClock
from holdfast.worker.published import Published
from tests.faults.history import LIMIT, QUEUE, Called, Killed, Notes
from tests.faults.telling import Teller

AT_ONCE = Retry(base=0, jitter="none")
AT_MOST_TWICE = Retry(attempts=2, base=0, jitter="none")


def _clock():
    """Return a clock that the test sets, where it has one."""
    path = os.environ.get("FAULTS_CLOCK")
    return SharedClock(Path(path)) if path else SYSTEM


def _opened(url, *, clock):
    """Open the store with the clock that its machine has."""
    return open_store(url, clock=SYSTEM if os.environ.get("FAULTS_STORE_TIME") else clock)


holdfast.app.open_store = _opened
app = App(clock=_clock())
notes = Notes(os.environ["FAULTS_HISTORY"])
telling = Teller(notes, app)


class Told(Published):
    """Tells of a job just before it can be charged with the death of this process."""

    def begin(self, delivery):
        notes.note(Called(id=delivery.id, token=delivery.token, attempt=delivery.attempt))
        super().begin(delivery)


holdfast.worker.worker.Published = Told


# -- work that ends -----------------------------------------------------------------------------------------------


@app.task(queue=QUEUE, name="step", retry=AT_ONCE)
def step(seconds: float, *, ctx: Context = CONTEXT) -> None:
    """Work in a thread."""
    with telling(ctx):
        time.sleep(seconds)


@app.task(queue=QUEUE, name="stroll", retry=AT_ONCE)
async def stroll(seconds: float, *, ctx: Context = CONTEXT) -> None:
    """Work in the event loop."""
    with telling(ctx):
        await asyncio.sleep(seconds)


@app.task(queue=QUEUE, name="seize", retry=AT_ONCE)
def seize(seconds: float, *, ctx: Context = CONTEXT) -> None:
    """Let no other thread of this process run meanwhile: a C function that holds the GIL."""
    with telling(ctx):
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))


@app.task(queue=QUEUE, name="step.isolated", retry=AT_ONCE, isolate=True)
def step_isolated(seconds: float, *, ctx: Context = CONTEXT) -> None:
    """Work in a process of its own."""
    with telling(ctx):
        time.sleep(seconds)


@app.task(queue=QUEUE, name="parse", retry=AT_MOST_TWICE)
def parse(number: int, text: str = "", more: dict[str, list[float]] | None = None, *, ctx: Context = CONTEXT) -> None:
    """Take arguments of several types."""
    with telling(ctx):
        pass


@app.task(queue=QUEUE, name="unpack", codec="msgpack", retry=AT_MOST_TWICE)
async def unpack(number: int, text: str = "", more: list[bytes] | None = None, *, ctx: Context = CONTEXT) -> None:
    """Take arguments of several types, written otherwise."""
    with telling(ctx):
        pass


@app.task(queue=QUEUE, name="stumble", retry=AT_ONCE)
def stumble(*, ctx: Context = CONTEXT) -> None:
    """Fail once."""
    with telling(ctx):
        if ctx.attempt == 1:
            raise RuntimeError("the first time")


# -- work that does not -------------------------------------------------------------------------------------------


@app.task(queue=QUEUE, name="cling", retry=AT_ONCE)
def cling(gate: str, *, ctx: Context = CONTEXT) -> None:
    """Wait in a thread, whatever anybody says, until the file is there."""
    with telling(ctx):
        wait_for(gate)


@app.task(queue=QUEUE, name="overrun", retry=AT_MOST_TWICE, timeout=LIMIT)
def overrun(gate: str, *, ctx: Context = CONTEXT) -> None:
    """Ignore a limit, in a thread, until the file is there."""
    with telling(ctx):
        wait_for(gate)


@app.task(queue=QUEUE, name="overrun.isolated", retry=AT_MOST_TWICE, timeout=LIMIT, isolate=True)
def overrun_isolated(*, ctx: Context = CONTEXT) -> None:
    """Ignore a limit, in a process, where no other thread gets a word in either."""
    with telling(ctx):
        ctypes.PyDLL(None).usleep(600_000_000)


@app.task(queue=QUEUE, name="linger", retry=AT_ONCE)
async def linger(*, ctx: Context = CONTEXT) -> None:
    """Wait for ever in the event loop."""
    with telling(ctx):
        await asyncio.Event().wait()


def wait_for(gate):
    """Wait for a file."""
    while not os.path.exists(gate):  # noqa: PTH110
        time.sleep(0.01)


# -- work that kills ----------------------------------------------------------------------------------------------


@app.task(queue=QUEUE, name="kill", retry=AT_ONCE)
def kill(number: int, *, ctx: Context = CONTEXT) -> None:
    """Kill the process that runs it."""
    with telling(ctx):
        notes.note(Killed(pids=(os.getpid(),)))
        os.kill(os.getpid(), number)
        threading.Event().wait()


@app.task(queue=QUEUE, name="hog", retry=AT_ONCE)
def hog(*, ctx: Context = CONTEXT) -> None:
    """Take 400 MB a second until somebody says no."""
    with telling(ctx):
        take_memory()


@app.task(queue=QUEUE, name="hog.isolated", retry=AT_ONCE, isolate=True, max_memory=200_000_000)
def hog_isolated(*, ctx: Context = CONTEXT) -> None:
    """Do so in a process of its own."""
    with telling(ctx):
        take_memory()


def take_memory():
    """Take 400 MB a second, at most for a minute."""
    taken = []
    for _ in range(3_000):
        taken.append(bytearray(b"x" * 8_000_000))
        time.sleep(0.02)
