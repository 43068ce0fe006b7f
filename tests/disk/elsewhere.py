"""Logs of a data directory in a process of its own, which does as it is told until it is ended, or killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.errors import HoldfastError
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_logs

ROOT = Path(__file__).parents[2]


class Elsewhere:
    """The other process. A call returns what its function below returns, or raises :class:`Raised`."""

    def __init__(self, url):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.disk.elsewhere", url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def call(self, verb, *arguments):
        self.begin(verb, *arguments)
        return self.answer()

    def begin(self, verb, *arguments):
        """Ask without waiting."""
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self):
        """Return the answer to what was asked first."""
        line = self._process.stdout.readline()
        assert line, "the other process ended"
        error, value = json.loads(line)
        if error:
            raise Raised(*value)
        return value

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def stop(self):
        self._process.send_signal(signal.SIGSTOP)


class Raised(Exception):
    """What the other process raised: the name of its class, and its text."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


class Told:
    """What it can be told. It has one member at a time, whose last poll it remembers."""

    def __init__(self, url):
        self._logs = open_logs(parse_url(url))
        self._member = self._polled = None

    def append(self, log, partition, *bodies):
        return self._logs.append(log, partition, Columns([body.encode() for body in bodies])).offset

    def join(self, log, group, holder):
        self._member = self._logs.join(log, group, HolderInfo(id=holder, ttl=30), start=Start())

    def poll(self, wait, limit=1000):
        self._polled = self._member.poll(limit=limit, wait=wait)
        return [body.decode() for chunk in self._polled for body in chunk.bodies]

    def commit(self, durable=False):
        return self._member.commit(_ends(self._polled), durable=durable)

    def commit_until_lost(self):
        """Commit the same again and again; return how often that went well."""
        [chunk] = self._polled
        for count in range(1_000_000):
            try:  # each has something of its own to write
                self._member.commit(
                    [Offset(chunk.partition, chunk.base, chunk.version, (chunk.base + 1 + count % 50,))]
                )
            except HoldfastError as error:
                return [type(error).__name__, count]
        return ["never", count]

    def assigned(self):
        return sorted(self._member.assigned())

    def seek(self, log, group, partition, offset):
        self._logs.seek(log, group, {partition: offset})

    def ends(self, log):
        return [[ends.first, ends.next] for ends in self._logs.ends(log)]

    def produce(self, log, partitions, seconds):
        """Append numbers to each partition in turn, one to seven at a time; return how many there are in each."""
        counts, end, turns = [0] * partitions, time.monotonic() + seconds, cycle(range(partitions))
        while time.monotonic() < end:
            turn = next(turns)
            bodies = [b"%d" % number for number in range(counts[turn], counts[turn] + 1 + counts[turn] % 7)]
            self._logs.append(log, turn, Columns(bodies))
            counts[turn] += len(bodies)
        return counts

    def consume(self, log, group, path):
        """Read for ever: write down each message as handled, then commit."""
        member = self._logs.join(log, group, HolderInfo(id=f"{os.getpid()}#1", ttl=30), start=Start())
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        while True:
            chunks = member.poll(limit=100, wait=10)
            for chunk in chunks:
                for message in chunk:
                    os.write(fd, b"%d %d %d %s\n" % (chunk.partition, chunk.version, message.offset, message.body))
            with suppress(HoldfastError):
                member.commit(_ends(chunks))


def _ends(chunks):
    return [Offset(chunk.partition, chunk.next, chunk.version) for chunk in chunks]


def main(url):
    told = Told(url)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            answer = [False, getattr(told, verb)(*arguments)]
        except HoldfastError as error:
            answer = [True, [type(error).__name__, str(error)]]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
