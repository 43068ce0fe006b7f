"""Dead letters: what failed is looked at, counted by cause, and replayed once the cause is mended."""

import logging
from collections import Counter

from holdfast import App, Bury, Retry, State
from holdfast.capabilities import JobFilter

logging.disable()  # the failures are on purpose
app = App("memory:")
bank = {"is up": False}


@app.task(queue="bank", retry=Retry(attempts=2, base=0))
def transfer(account: str, amount: int) -> None:
    if amount < 0:
        raise Bury("nothing is taken back")
    if not bank["is up"]:
        raise ConnectionError("the bank does not answer")


def work() -> None:
    with app.worker(drain=True) as worker:
        worker.join()


def main() -> None:
    transfer.enqueue_many(transfer.call(account, amount) for account in ("ann", "bob") for amount in (5, 7, -1))
    work()
    queue = app.queue("bank")
    dead = JobFilter(states=(State.DEAD,))
    print("why:", sorted(Counter(job.reason for job in queue.jobs(dead)).items()))

    refused = JobFilter(states=(State.DEAD,), text="does not answer")
    *_, oldest = queue.jobs(refused)  # newest first
    print("the first:", transfer.arguments(oldest), "after", oldest.attempts, "attempts")

    bank["is up"] = True
    print("would replay:", queue.replay(refused, dry_run=True).matching)
    print("replayed:", len(queue.replay(refused, rate=100.0).moved))
    work()
    print("done:", queue.count(JobFilter(states=(State.DONE,))), "dead:", queue.count(dead))
    print("removed for good:", len(queue.remove(dead)))


if __name__ == "__main__":
    main()
