"""What a child of a fork has of the files that its parent has open: nothing, whatever the parent was at."""

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.clock import SYSTEM
from holdfast.config import LogSettings
from holdfast.delivery import HolderInfo
from holdfast.errors import HoldfastError
from holdfast.logged import Columns, Start
from holdfast.message import Message
from holdfast.stores.disk import DiskLogs, DiskQueues
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.turns import turn

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LOG = "events"


class Child:
    """A child of this process that lives until it is ended; ``said`` is what ``look`` returned in it."""

    def __init__(self, look):
        (said, say), (wait, self._end) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if not self._pid:  # what fails here must not run the rest of the tests
            with suppress(BaseException):
                os.close(self._end)
                os.write(say, str(look()).encode())
                os.close(say)
                os.read(wait, 1)
            os._exit(0)
        os.close(say)
        os.close(wait)
        with os.fdopen(said, "rb") as stream:
            self.said = stream.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._end)
        os.waitpid(self._pid, 0)


def open_below(folder):
    """Return the files in a folder that this process has open."""
    found = []
    for fd in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            found.append(str(fd.readlink()))
    return sorted(name for name in found if name.startswith(str(folder)))


def test_no_file_of_a_log_is_open_in_the_child(tmp_path):
    logs = DiskLogs(tmp_path, SYSTEM, PartitionOptions(sync="interval"))
    logs.declare(LOG, LogSettings(partitions=2))
    for number in (0, 1):
        logs.append(LOG, number, Columns([b"a"]))
        logs.roll(LOG)
        logs.append(LOG, number, Columns([b"b"]))
    member = logs.join(LOG, "group", HolderInfo(id="here#1", ttl=30), start=Start())
    member.poll(limit=9, wait=0)
    assert len(open_below(tmp_path)) > 8

    with Child(lambda: open_below(tmp_path)) as child:
        assert child.said == "[]"

    logs.append(LOG, 0, Columns([b"c"]))
    logs.close()


def test_no_file_of_the_queues_is_open_in_the_child(tmp_path):
    store = DiskQueues(tmp_path, PartitionOptions())
    store.send("mail", [Message(kind="greet", body=b"", id="a")])
    assert len(open_below(tmp_path)) > 2

    with Child(lambda: open_below(tmp_path)) as child:
        assert child.said == "[]"

    store.send("mail", [Message(kind="greet", body=b"", id="b")])
    store.close()


def test_what_the_child_has_left_of_a_file_cannot_be_written(tmp_path):
    files = Files()
    fd = files.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)

    def write():
        try:
            files.write(fd, [b"x"], 0)
        except OSError:
            return files.close(fd)
        return "written"

    with Child(write) as child:
        assert child.said == "None"
    assert files.read(fd, 9, 0) == b""
    files.close(fd)


def test_a_turn_that_another_thread_had_ends_in_the_parent_though_the_child_lives(tmp_path):
    has_it, go_on = threading.Event(), threading.Event()

    def work():
        with turn(Files(), tmp_path / "turn"):
            has_it.set()
            go_on.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    has_it.wait(10)
    with Child(os.getpid):
        go_on.set()
        thread.join()
        fd = Files().open(tmp_path / "turn", os.O_RDWR)
        assert Files().lock(fd)
        Files().close(fd)


def test_a_call_in_the_child_leaves_the_locks_of_its_parent_alone(tmp_path):
    logs = DiskLogs(tmp_path, SYSTEM)
    logs.declare(LOG, LogSettings())
    logs.append(LOG, 0, Columns([b"a"]))

    def append():
        try:
            logs.append(LOG, 0, Columns([b"x"]))
        except HoldfastError as error:
            logs.close()
            return str(error)
        return "written"

    for _ in range(2):
        with Child(append) as child:
            assert f"process {os.getpid()} on" in child.said
    assert logs.append(LOG, 0, Columns([b"b"])).offset == 1
    assert Path(tmp_path / "logs" / LOG).is_dir()
    logs.close()
