"""A disk that takes nothing more, under a real worker: writing stops, reading goes on, and it resumes by itself."""

import resource
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import parse_url
from holdfast.delivery import State
from holdfast.stores import open_store
from tests.processes.disk import QUEUE, make

pytestmark = pytest.mark.slow
JOBS = [str(number) for number in range(600)]
SYS_ADMIN = 1 << 21


class LimitedFiles:
    """Lets a process write no file any more: every write of its SQLite fails. Needs no rights."""

    complaint = "disk I/O error"

    def __init__(self, folder):
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self, pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, self._before[1]))

    def free(self, pid):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, self._before)

    def close(self):
        pass


class SmallDisk:
    """A file system of a few megabytes that is filled to its last byte. Needs the right to mount one."""

    complaint = "the disk is full"

    def __init__(self, folder):
        self.folder = folder / "disk"
        self.folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", self.folder], check=True)

    def fill(self, pid):
        size = 1 << 20
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            while size:
                try:
                    ballast.write(bytes(size))
                except OSError:
                    size //= 2

    def free(self, pid):
        (self.folder / "ballast").unlink()

    def close(self):
        subprocess.run(["umount", "-l", self.folder], check=True)


def may_mount():
    rights = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return bool(int(rights["CapEff"], 16) & SYS_ADMIN)


@pytest.fixture(params=[LimitedFiles, SmallDisk] if may_mount() else [LimitedFiles])
def disk(request, tmp_path):
    disk = request.param(tmp_path)
    yield disk
    disk.close()


@contextmanager
def working(url):
    command = [sys.executable, "-m", "tests.processes.disk", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        try:
            yield worker
        finally:
            worker.kill()


@contextmanager
def looking(url):
    store = open_store(parse_url(url))
    try:
        yield store
    finally:
        store.close()


def read_until(stream, enough, lines=None):
    """Read lines until they are enough; the test's own timeout ends it."""
    lines = [] if lines is None else lines
    while not enough(lines):
        line = stream.readline()
        assert line, f"it ended after {lines[-20:]}"
        lines.append(line.strip())
    return lines


def ended(count):
    return lambda lines: sum(line.startswith("ended") for line in lines) >= count


def test_a_full_disk_stops_writing_and_keeps_reading_and_is_overcome_by_itself(disk):
    url = f"sqlite:///{disk.folder}/jobs.db"
    with make(url) as app:
        for job in JOBS:
            app.tasks["work"].using(id=job).enqueue("x" * 200)
    # The last to close has removed the write-ahead log, so that the worker's needs room to grow.
    with working(url) as worker:
        said = read_until(worker.stdout, ended(20))
        disk.fill(worker.pid)
        read_until(worker.stderr, lambda lines: any(disk.complaint in line for line in lines))

        with looking(url) as store:
            assert store.get(QUEUE, said[0].partition(" ")[2]).state in {State.RUNNING, State.DONE}
            assert store.get(QUEUE, JOBS[-1]).state is State.READY
        assert worker.poll() is None

        disk.free(worker.pid)
        read_until(worker.stdout, ended(len(JOBS)), said)
        worker.send_signal(signal.SIGTERM)
        said += worker.stdout.read().splitlines()
        assert worker.wait() == 0

    with looking(url) as store:
        views = [store.get(QUEUE, job) for job in JOBS]
        assert store.holders() == []
    assert Counter((view.state, view.attempts) for view in views) == {(State.DONE, 1): len(JOBS)}
    assert Counter(said) == dict.fromkeys([f"{verb} {job}" for verb in ("began", "ended") for job in JOBS], 1)
