"""Reads a log as a member of a group until it is killed, or, told to drain, until all is read and nothing comes.
``python -m tests.disk.follower <url> <journal> <name> [drain]``
"""

import os
import sys

from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import LeaseLost
from holdfast.logged import Offset, Start
from holdfast.stores import open_logs
from tests.disk.appender import LOG
from tests.disk.journal import Handled, Journal, Placed

GROUP = "g"


def main(url, path, name, drain=""):
    logs, journal = open_logs(parse_url(url)), Journal(path)
    holder = HolderInfo(id=f"{name}#{os.getpid()}", ttl=5.0, queues=(), kinds=())
    member = logs.join(LOG, GROUP, holder, start=Start())
    while True:
        chunks = member.poll(limit=50, wait=0.5)
        for chunk in chunks:
            follower = f"{name} {chunk.version}"
            journal.write(Handled(chunk.partition, follower, chunk.base, [body.decode() for body in chunk.bodies]))
        places = {chunk.partition: Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks}
        try:
            for partition, place in member.commit(list(places.values())).items():
                journal.write(Placed(partition, place))
        except LeaseLost:
            continue
        if drain and not chunks and not any(lag.messages for lag in logs.lag(LOG, GROUP)):
            break
    member.leave()
    logs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
