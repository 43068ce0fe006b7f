"""A sender: ``python -m tests.faults.sender TASK ARGUMENTS COUNT BATCH``, with options of the send as JSON.

Tells of each job before it is sent, and again when the store has said that it has it.
"""

import json
import sys

from tests.faults import tasks
from tests.faults.history import Offered, Sent


def send(task, arguments, count, batch, options):
    """Send ``count`` jobs, ``batch`` at a time; ``keys`` among the options gives them so many keys in turn."""
    keys = options.pop("keys", 0)
    with tasks.app:
        for first in range(0, count, batch):
            calls = []
            for number in range(first, min(count, first + batch)):
                key = {"key": f"k{number % keys}"} if keys else {}
                calls.append(tasks.app.tasks[task].using(**options, **key).call(*arguments))
            tasks.notes.note(*(Offered(id=call.message.id, key=call.message.key) for call in calls))
            sent = tasks.app.enqueue_many(calls)
            tasks.notes.note(Sent(ids=tuple(job.id for job in sent)))


if __name__ == "__main__":
    name, given, jobs, at_a_time, *more = sys.argv[1:]
    send(name, json.loads(given), int(jobs), int(at_a_time), json.loads(more[0]) if more else {})
