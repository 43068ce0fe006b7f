"""Appends to all partitions of a log from four threads until it is killed. ``python -m tests.disk.appender <url>
<journal> <name> <seed>``; it waits while the log is still locked by the one that was killed before.
"""

import random
import sys
import threading

from holdfast.config import parse_url
from holdfast.logged import Columns
from holdfast.stores import open_logs
from tests.disk.journal import Appended, Journal, Offering

LOG, PARTITIONS, PRODUCERS = "log", 4, 4


def produce(logs, journal, name, draw):
    number = 0
    while True:
        partition, count = draw.randrange(PARTITIONS), draw.choice((1, 1, 5))
        bodies = [f"{name}/{number + more}/".ljust(draw.choice((0, 20, 2000)), ".") for more in range(count)]
        number += count
        journal.write(Offering(partition, bodies))
        stored = logs.append(LOG, partition, Columns([text.encode() for text in bodies]))
        journal.write(Appended(partition, stored.offset, bodies))


def main(url, path, name, seed):
    logs, journal = open_logs(parse_url(url)), Journal(path)
    threads = [
        threading.Thread(target=produce, args=(logs, journal, f"{name}-{number}", random.Random(f"{seed}-{number}")))
        for number in range(PRODUCERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
