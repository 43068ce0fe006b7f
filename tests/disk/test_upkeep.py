"""One thread looks after partitions; nothing that goes wrong with one of them keeps it from the others."""

import threading

from holdfast.clock import SYSTEM
from holdfast.logged import Columns
from holdfast.stores.disk import upkeep as upkeep_module
from holdfast.stores.disk.files import Files
from holdfast.stores.disk.options import PartitionOptions
from holdfast.stores.disk.partition import Partition
from holdfast.stores.disk.upkeep import Upkeep


class Broken:
    """Fails the first time in a way that nobody foresaw."""

    def __init__(self):
        self.mended = threading.Event()
        self.looks = 0

    def upkeep(self):
        self.looks += 1
        if self.looks == 1:
            raise KeyError("unforeseen")
        self.mended.set()


class Quiet:
    def __init__(self):
        self.seen = threading.Event()

    def upkeep(self):
        self.seen.set()


def test_what_fails_is_logged_and_tried_again_and_the_others_go_on(monkeypatch, caplog):
    monkeypatch.setattr(upkeep_module, "AGAIN_IN", 0.0)
    keeping, broken, quiet = Upkeep(), Broken(), Quiet()

    assert keeping.wake(broken)
    assert broken.mended.wait(10)
    assert keeping.wake(quiet)

    assert quiet.seen.wait(10)
    keeping.stop()
    assert "could not be looked after; it is tried again" in caplog.text


def test_appends_go_on_where_no_thread_can_be_begun(monkeypatch, tmp_path):
    def refuse(thread):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    partition = Partition.open(
        tmp_path, Files(), PartitionOptions(), store=bytes(16), epoch=1, clock=SYSTEM, report=print
    )
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        offsets = [partition.append(Columns([b"x"])).offset for _ in range(2)]
    offsets.append(partition.append(Columns([b"y"])).offset)

    assert offsets == [0, 1, 2]
    partition.close()
