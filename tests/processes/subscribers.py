"""Four subscribers to one event, and a wire that something trips over at a chosen step; also a program of its own.

``python -m tests.processes.subscribers URL STEP``: works until drained, or kills itself at the step.
"""

import json
import os
import signal
import sys

from holdfast import CONTEXT, App, Context, Retry
from holdfast.delivery import Ack, Nack
from holdfast.events import Done

KIND, QUEUE = "order.paid", "events"
NAMES = ("bill", "ship", "thank", "flaky")
FOR_EVER = Retry(attempts=None, base=0, jitter="none")

STEPS = [
    "event leased",
    "before hand-out",
    "after hand-out",
    "subscriber leased",
    "before nack of flaky",
    "after nack of flaky",
    *(f"{step} {name}" for name in NAMES for step in ("in", "before ack of", "after ack of")),
]


def subscribe(app, say, step):
    """Declare the four; ``flaky`` fails in its first two runs. ``step`` is called where they are."""

    def note(ctx):
        say(started=ctx.id, token=ctx.token)
        step(f"in {ctx.kind.rpartition('/')[2]}")

    @app.on(KIND, retry=FOR_EVER)
    def bill(event: int, *, ctx: Context = CONTEXT) -> None:
        note(ctx)

    @app.on(KIND, retry=FOR_EVER)
    async def ship(event: int, *, ctx: Context = CONTEXT) -> None:
        note(ctx)

    @app.on(KIND, retry=FOR_EVER)
    def thank(event: int, *, ctx: Context = CONTEXT) -> None:
        note(ctx)

    @app.on(KIND, retry=FOR_EVER)
    def flaky(event: int, *, ctx: Context = CONTEXT) -> None:
        note(ctx)
        if ctx.attempt <= 2:
            raise ValueError(f"attempt {ctx.attempt}")


def wire(store, step):
    """Call ``step`` before and after what the store does for events and subscribers."""
    lease, settle = store.lease, store.settle

    def wired_lease(*args, **kwargs):
        granted = lease(*args, **kwargs)
        if any(one.kind == KIND for one in granted):
            step("event leased")
        if any(one.kind != KIND for one in granted):
            step("subscriber leased")
        return granted

    def wired_settle(settlements):
        names = [name for one in settlements if (name := name_of(one)) is not None]
        for name in names:
            step(f"before {name}")
        lost = settle(settlements)
        for name in names:
            step(f"after {name}")
        return lost

    store.lease, store.settle = wired_lease, wired_settle


def name_of(settlement):
    subscriber = "" if settlement.receipt is None else settlement.receipt.id.rpartition("/")[2]
    match settlement:
        case Ack() if subscriber not in NAMES:
            return "hand-out"
        case Ack():
            return f"ack of {subscriber}"
        case Nack():
            return f"nack of {subscriber}"
    return None


def main(url, wanted):
    def say(**facts):
        # One write, so that threads neither mix their lines nor leave one in a buffer when the process is killed.
        os.write(sys.stdout.fileno(), (json.dumps(facts) + "\n").encode())

    def step(name):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    app = App(url)
    subscribe(app, say, step)
    app.listen(Done, lambda event: say(acked=event.job.id))
    with app:
        wire(app.backend, step)
        app.worker(concurrency=4, embedded=False, drain=True, ttl=2.0).run()
    say(drained=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
