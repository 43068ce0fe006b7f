"""The program of the tests that kill consumers: an App whose stores ``$HOLDFAST_URL`` and ``$HOLDFAST_LOGS_URL`` name.

``python -m tests.consume.program [STEP]``: works until the groups have no lag, or kills itself at the step. Every
message that is handled is said on a line of JSON.
"""

import json
import os
import signal
import sys

from holdfast import CONTEXT, App, Context, Retry
from holdfast.logged import LogMessage
from holdfast.worker.consuming.source import Source

STEPS = ("before the commit", "after the commit", "after the dead letter")

app = App(os.environ.get("HOLDFAST_URL", "memory:"))


def say(**facts):
    # One write, so that no line is left in a buffer when the process is killed.
    os.write(sys.stdout.fileno(), (json.dumps(facts) + "\n").encode())


def die():
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@app.task(queue="orders.billing")
def remind(offset: int) -> None:
    say(reminded=offset)


@app.consume(log="orders", group="billing", retry=Retry(attempts=5, base=0, jitter="none"))
def bill(message: LogMessage, *, ctx: Context = CONTEXT) -> None:
    say(partition=message.partition, offset=message.offset, key=message.key, pid=os.getpid())
    if message.body == b"follow":
        ctx.then(remind.call(message.offset))
    if message.body == b"kill":
        die()
    if message.body == b"fail":
        raise ValueError("no")


@app.consume(log="orders", group="isolated", isolate=True, retry=Retry(attempts=5, base=0, jitter="none"))
def bill_apart(message: LogMessage) -> None:
    if message.body == b"kill":
        die()


def trip(step):
    """Let the process die at this step, once it has handled the message at offset 5."""
    commit, put_dead = Source._commit, type(app.backend).put_dead

    def commit_and_die(self, member, offsets, *, durable):
        reached = any(offset.next > 5 for offset in offsets)
        if reached and step == "before the commit":
            die()
        commit(self, member, offsets, durable=durable)
        if reached and step == "after the commit":
            die()

    def put_dead_and_die(*args, **options):
        put_dead(*args, **options)
        if step == "after the dead letter":
            die()

    Source._commit = commit_and_die
    type(app.backend).put_dead = put_dead_and_die


if __name__ == "__main__":
    if sys.argv[1:]:
        trip(sys.argv[1])
    with app:
        app.worker(["orders.billing"], concurrency=4, embedded=False, drain=True, ttl=5.0).run()
    say(drained=True)
