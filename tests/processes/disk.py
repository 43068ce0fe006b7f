"""A worker in a process of its own, for tests that take the disk from it: ``python -m tests.processes.disk URL``.

It says on its standard output which job begins and which ends; those lines need no disk.
"""

import logging
import os
import sys
import time

from holdfast import CONTEXT, App, Context

QUEUE = "work"


def say(*words):
    os.write(sys.stdout.fileno(), (" ".join(words) + "\n").encode())


def make(url):
    app = App(url)

    @app.task(name="work", queue=QUEUE)
    def work(body: str, *, ctx: Context = CONTEXT) -> None:
        say("began", ctx.id)
        time.sleep(0.002)
        say("ended", ctx.id)

    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    with make(sys.argv[1]) as app:
        app.worker(concurrency=4, prefetch=0, embedded=False).run()
