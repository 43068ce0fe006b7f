"""Machines share a queue on Redis or Valkey; a send is repeated until it is known to be stored, and makes one job.

It wants a server: HOLDFAST_URL=redis://localhost python examples/machines.py
"""

import os
import time

from holdfast import App, BackendError, Call, Job

URL = os.environ.get("HOLDFAST_URL", "redis://localhost")
app = App(URL)


@app.task(queue="payments", result=60)
def charge(order: int) -> str:
    return f"order {order} is charged"


def send_surely(call: "Call[str]") -> "Job[str]":
    """Send a call through outages and failovers: its id is its own, so the store knows it when it comes again."""
    while True:
        try:
            return charge.enqueue_many([call])[0]
        except BackendError as error:
            if not error.retryable:
                raise  # a wrong password, another program on that port: the text says what to do
            time.sleep(0.5)


def main() -> None:
    call = charge.call(7)
    job, again = send_surely(call), send_surely(call)
    print("one job, though sent twice:", job.id == again.id)
    print("waiting:", App(URL, logger=None).queue("payments").depth(), "as another machine sees it")
    with app.worker(concurrency=2):
        print(job.result(timeout=30))
    print("left:", app.queue("payments").depth())


if __name__ == "__main__":
    with app:
        main()
