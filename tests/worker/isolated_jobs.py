"""The program of the tests of isolated jobs: an App whose store ``$HOLDFAST_URL`` names, as in a program of a user's.

Jobs that wait write into a pipe of the test's first, so that the test knows that they run, and in which process.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from holdfast import CONTEXT, App, Bury, Cancel, Context, Depends, Retry, RetryLater
from holdfast.config import QueueSettings

app = App(os.environ.get("HOLDFAST_URL", "memory:"), queues={"default": QueueSettings(max_body=20_000_000)})
AT_ONCE = Retry(attempts=2, base=0)


def say(pipe: str, text: object = "") -> None:
    """Say something to a test that reads the pipe, and wait until it does."""
    with Path(pipe).open("w") as line:
        line.write(f"{text or os.getpid()}\n")


def wait_for_ever(pipe: str) -> None:
    say(pipe)
    while True:
        signal.pause()


# -- how runs end ---------------------------------------------------------------------------------------------


@app.task(isolate=True, result=60)
def whoami() -> int:
    return os.getpid()


@app.task(isolate=True, result=60)
def add(one: int, other: int) -> int:
    return one + other


@app.task(isolate=True, result=60)
async def add_soon(one: int, other: int) -> int:
    await asyncio.sleep(0)
    return one + other


@app.task(isolate=True, result=60)
def doubled(text: str) -> str:
    return text * 2


@app.task(isolate=True, retry=1)
def broken() -> None:
    raise ValueError("this very line")


class Stubborn(Exception):
    """An error that can neither be pickled nor made again from what it holds."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")
        self.held = lambda: one


@app.task(isolate=True, retry=Retry(attempts=3, base=0, never=(Stubborn,)))
def refused() -> None:
    raise Stubborn("not", "again")


@app.task(isolate=True, retry=Retry(attempts=2, base=0, on=(Stubborn,)))
def repeated() -> None:
    raise Stubborn("once", "more")


@app.task(isolate=True, retry=Retry(attempts=5, base=0))
def signalled(which: str) -> None:
    raise {"bury": Bury("no use"), "cancel": Cancel("not wanted"), "later": RetryLater(3600)}[which]


# -- what a run may use of its context ------------------------------------------------------------------------


@app.task(isolate=True)
def parent(*, ctx: Context = CONTEXT) -> None:
    ctx.then(child.call(ctx.id))
    ctx.progress(0.5, "half")


@app.task(isolate=True, result=60)
def child(of: str, *, ctx: Context = CONTEXT) -> list[object]:
    return [of, ctx.attempt, ctx.kind]


@app.task(isolate=True)
def halfway(pipe: str, *, ctx: Context = CONTEXT) -> None:
    ctx.progress(0.5, "half")
    wait_for_ever(pipe)


@app.task(isolate=True, result=60, retry=AT_ONCE)
def paid(path: str, then: str = "", *, ctx: Context = CONTEXT) -> str:
    connection = apsw.Connection(path)
    with connection:
        ctx.ack_in(connection, "committed")
    if then:
        os.kill(os.getpid(), signal.SIGKILL)
    return "not this"


@app.task(isolate=True)
def asks(pipe: str, *, ctx: Context = CONTEXT) -> None:
    say(pipe)
    while not ctx.cancel_requested:
        pass
    raise Cancel("as asked")


@app.task(isolate=True)
def leaves(pipe: str, *, ctx: Context = CONTEXT) -> None:
    say(pipe)
    while not ctx.stopping:
        pass
    raise RetryLater(3600, count=False)


@app.task(isolate=True, stop_when_lost=True)
def waits_while_leased(pipe: str) -> None:
    wait_for_ever(pipe)


@app.task(isolate=True)
async def awaits(pipe: str, told: str) -> None:
    say(pipe)
    try:
        await asyncio.Event().wait()
    finally:
        say(told, "cleaned up")


@app.task(isolate=True)
def sends() -> None:
    add.enqueue(1, 2)


# -- how processes end ----------------------------------------------------------------------------------------


@app.task(isolate=True, timeout=0.3, retry=1)
def hangs(pipe: str) -> None:
    wait_for_ever(pipe)


@app.task(isolate=True, timeout=0.3, retry=1)
def holds_lock(pipe: str) -> None:
    say(pipe)
    ctypes.PyDLL(None).sleep(60)  # which keeps the interpreter's lock


@app.task(isolate=True)
def waits(pipe: str) -> None:
    wait_for_ever(pipe)


@app.task(isolate=True)
def keeps_lock(pipe: str) -> None:
    say(pipe)
    ctypes.PyDLL(None).sleep(60)


@app.task(isolate=True)
def dies(how: str) -> None:
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)


@app.task(isolate=True, max_memory=200_000_000)
def eats() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(10_000_000))


@app.task(isolate=True, max_memory=200_000_000, result=60)
def keeps(size: int) -> int:
    KEPT.append(b"x" * size)
    return os.getpid()


KEPT: list[bytes] = []


@app.task(isolate=True)
def starts_another(pipe: str) -> None:
    other = subprocess.Popen(["sleep", "60"])
    say(pipe, f"{os.getpid()} {other.pid}")
    other.wait()


@app.task(isolate=True, result=60)
def forks() -> int:
    child = os.fork()
    if not child:
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# -- what a process has ---------------------------------------------------------------------------------------


@app.task(isolate=True, result=60)
def descriptors() -> list[str]:
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink())


@app.task(isolate=True)
def prints(text: str, *, ctx: Context = CONTEXT) -> None:
    print(text)  # noqa: T201
    sys.stderr.write(f"{text} as an error\n")
    ctx.logger.warning("%s as a log line", text)


@contextmanager
def home() -> Iterator[str]:
    """A dependency that lives as long as a worker, and says when it ends."""
    yield f"made in {os.getpid()}"
    if file := os.environ.get("ISOLATED_CLEANUP"):
        with Path(file).open("a") as line:
            line.write(f"{os.getpid()}\n")


@app.task(isolate=True, result=60)
def depends(*, made: str = Depends(home, scope="worker")) -> str:
    return made


SURROUNDED: list[str] = []


@app.middleware.run
def noting(ctx: Context) -> Iterator[None]:
    SURROUNDED.append(ctx.kind)
    yield


@app.task(isolate=True, result=60)
def surrounded() -> list[str]:
    return SURROUNDED


@app.on("order.paid", isolate=True)
def on_paid(pipe: str) -> None:
    say(pipe)


if __name__ == "__main__":
    with app.worker(embedded=False, grace=60) as worker:
        worker.join()
