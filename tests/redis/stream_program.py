"""The program of the tests that kill consumers of a stream: ``$HOLDFAST_URL`` names the server.

``python -m tests.redis.stream_program [TTL]`` works for ever. What it handles it adds to the list ``handled`` of
the same database; it waits at an entry with ``wait`` and kills itself at one with ``kill``.
"""

import os
import signal
import sys

from holdfast import CONTEXT, App, Context, Retry
from tests.redis.programs import until

app = App(os.environ.get("HOLDFAST_URL", "memory:"))
AT_ONCE = Retry(attempts=5, base=0, jitter="none")


def note(text):
    app.backend._link.call("handled", ("RPUSH", "handled", text))


@app.consume(stream="orders", group="billing", retry=AT_ONCE)
def bill(entry: dict[str, str], *, ctx: Context = CONTEXT) -> None:
    note(f"{entry['n']} {os.getpid()}")
    if "kill" in entry:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    if "wait" in entry:
        until(lambda: app.backend._link.call("go", ("EXISTS", "go"))[0], "told to go on", within=60)


if __name__ == "__main__":
    with app:
        app.worker(["orders.billing"], concurrency=4, embedded=False, ttl=float(sys.argv[1])).run()
