"""The heartbeat: when it beats, what it tells its owner, how a holder ends, and whose process has gone."""

import os
import signal
import subprocess
import sys
import threading

import msgspec
import pytest

from holdfast.delivery import Ack, GiveBack, Nack
from holdfast.errors import BackendError, Closed, LeaseLost
from holdfast.heartbeat import Heartbeat, Owner, gone_holders, this_process
from holdfast.message import Message
from holdfast.stores.memory import MemoryBackend
from holdfast.testing.clock import MovableClock
from tests.worker.faulty import Faulty


class Listening(Owner):
    """Keeps what it hears, and waits for more."""

    def __init__(self):
        self.is_busy = False
        self.heard = []
        self._changed = threading.Condition()

    def busy(self):
        return self.is_busy

    def cancels(self, receipts):
        self._note(("cancels", [receipt.id for receipt in receipts]))

    def paused(self, queues):
        self._note(("paused", set(queues)))

    def died(self, holder):
        self._note(("died", holder))

    def _note(self, what):
        with self._changed:
            self.heard.append(what)
            self._changed.notify_all()

    def wait_for(self, what):
        with self._changed:
            assert self._changed.wait_for(lambda: what in self.heard, 10), self.heard


@pytest.fixture
def clock():
    return MovableClock()


@pytest.fixture
def store(clock):
    store = Faulty(MemoryBackend(clock))
    yield store
    store.close()


@pytest.fixture
def owner():
    return Listening()


@pytest.fixture
def heartbeat(store, owner, clock):
    heartbeat = Heartbeat(store, this_process("me", ttl=30), owner=owner, clock=clock)
    yield heartbeat
    heartbeat.stop()
    heartbeat.join(10)


def no_more_threads(thread):
    raise RuntimeError("can't start new thread")


def lease(store, heartbeat, *bodies):
    store.send("q", [Message(body=body) for body in bodies])
    return store.lease("q", heartbeat.hold(["q"], [""]), "lease", limit=10, kinds=[""], max_format=1)


# -- beating --------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_somebody_holds(store, heartbeat):
    assert store.calls["beat"] == 0
    assert store.holders() == []


def test_on_return_the_store_knows_the_holder_its_queues_and_its_kinds(store, heartbeat):
    holder = heartbeat.hold(["q"], ["k"])

    (known,) = store.holders()
    assert known.id == holder == heartbeat.holder
    assert holder.startswith("me#")
    assert (known.queues, known.kinds, known.pid) == (("q",), ("k",), os.getpid())


def test_holding_again_beats_only_for_something_new(store, heartbeat):
    heartbeat.hold(["q"], ["k"])
    heartbeat.hold(["q"], ["k"])
    assert store.calls["beat"] == 1
    heartbeat.hold(["other"], ["k"])
    assert store.calls["beat"] == 2
    assert store.holders()[0].queues == ("other", "q")


def test_it_beats_every_third_of_its_ttl(store, heartbeat, clock):
    heartbeat.hold(["q"], ["k"])

    clock.move(5)
    clock.move(5)

    store.wait_for_calls("beat", 2)
    assert store.calls["beat"] == 2


def test_while_its_owner_is_busy_it_beats_every_second(store, heartbeat, owner, clock):
    heartbeat.hold(["q"], ["k"])
    owner.is_busy = True

    clock.move(1)
    store.wait_for_calls("beat", 2)
    clock.move(1)
    store.wait_for_calls("beat", 3)


def test_what_changes_while_the_owner_is_described_is_told_with_another_beat_at_once(store, heartbeat, owner):
    def describe(holder):
        if store.calls["beat"] == 1:
            heartbeat.hurry()  # the change comes just after it was read
        return holder

    heartbeat.hold(["q"], ["k"])
    owner.describe = describe

    heartbeat.hurry()

    store.wait_for_calls("beat", 3, patience=5)  # the next would come after 10 s


def test_it_tells_of_requests_to_cancel(store, heartbeat, owner, clock):
    (delivery,) = lease(store, heartbeat, b"")
    store.cancel("q", [delivery.id])

    clock.move(10)

    owner.wait_for(("cancels", [delivery.id]))


def test_it_tells_which_queues_are_paused(store, heartbeat, owner, clock):
    heartbeat.hold(["q"], ["k"])
    store.pause("q")

    clock.move(10)

    owner.wait_for(("paused", {"q"}))


def test_it_survives_errors_of_the_store(store, heartbeat, clock, caplog):
    heartbeat.hold(["q"], ["k"])
    store.fail("beat", 2)

    for beats in (2, 3, 4):
        clock.move(10)
        store.wait_for_calls("beat", beats)

    assert heartbeat.alive
    assert sum("a heartbeat of me#" in record.getMessage() for record in caplog.records) == 1


def test_an_owner_that_fails_does_not_end_it(store, heartbeat, owner, clock):
    heartbeat.hold(["q"], ["k"])
    owner.paused = lambda queues: 1 / 0
    store.pause("q")

    clock.move(10)
    store.wait_for_calls("beat", 2)
    clock.move(10)

    store.wait_for_calls("beat", 3)


# -- life and death -------------------------------------------------------------------------------------------


def test_a_holder_that_the_store_has_ended_dies_and_the_next_hold_begins_another(store, heartbeat, owner, clock):
    first = heartbeat.hold(["q"], ["k"])
    store.retire(first, "thought dead")

    clock.move(10)

    owner.wait_for(("died", first))
    assert not heartbeat.alive
    second = heartbeat.hold(["q"], ["k"])
    assert second != first
    assert heartbeat.alive
    assert [holder.id for holder in store.holders()] == [second]


def test_who_was_refused_a_lease_can_tell(heartbeat, owner):
    holder = heartbeat.hold(["q"], ["k"])

    heartbeat.lost("somebody#else")
    assert heartbeat.alive
    heartbeat.lost(holder)
    heartbeat.lost(holder)

    assert owner.heard == [("died", holder)]


def test_a_holder_whose_beats_fail_until_its_ttl_is_over_dies(store, heartbeat, owner, clock):
    holder = heartbeat.hold(["q"], ["k"])
    store.fail("beat", 100)

    clock.move(29)
    store.wait_for_calls("beat", 2)
    assert heartbeat.alive
    clock.move(2)

    owner.wait_for(("died", holder))


def test_after_a_sleep_a_holder_that_nobody_ended_lives_on(store, heartbeat, clock):
    holder = heartbeat.hold(["q"], ["k"])

    clock.move(3600)
    store.wait_for_calls("beat", 2)

    assert heartbeat.alive
    assert heartbeat.holder == holder


def test_a_beat_that_hangs_is_noticed_by_whoever_looks(store, heartbeat, owner, clock, monkeypatch):
    holder = heartbeat.hold(["q"], ["k"])
    asked, answer = threading.Event(), threading.Event()

    def hang(info):
        asked.set()
        answer.wait(10)
        raise BackendError("timed out", retryable=True)

    monkeypatch.setattr(store, "beat", hang, raising=False)
    clock.move(10)
    assert asked.wait(10)

    heartbeat.check()
    assert heartbeat.alive
    clock.move(31)
    heartbeat.check()

    assert owner.heard == [("died", holder)]
    answer.set()


def test_a_thread_that_cannot_be_started_now_is_started_by_the_next_hold(store, heartbeat, clock, monkeypatch):
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            heartbeat.hold(["q"], ["k"])
        assert heartbeat.join(0)

    heartbeat.hold(["q"], ["k"])
    beats = store.calls["beat"]
    clock.move(10)

    store.wait_for_calls("beat", beats + 1)


def test_at_the_end_the_holder_is_retired_and_what_it_held_goes_back(store, heartbeat):
    lease(store, heartbeat, b"", b"")

    heartbeat.stop()

    assert heartbeat.join(10)
    assert store.holders() == []
    assert store.stats("q").ready == 2
    with pytest.raises(Closed, match="has been stopped"):
        heartbeat.hold(["q"], ["k"])


def test_a_heartbeat_that_never_began_ends_without_the_store(store, heartbeat):
    heartbeat.stop()

    assert heartbeat.join(0)
    assert store.calls["retire"] == 0


def test_a_closed_store_ends_it_quietly(store, heartbeat, clock, caplog):
    heartbeat.hold(["q"], ["k"])
    store.close()

    clock.move(10)

    assert heartbeat.join(10)
    assert not caplog.records


def test_a_holder_that_is_ended_as_it_begins_is_an_error(store, heartbeat, monkeypatch):
    from holdfast.delivery import Beat

    monkeypatch.setattr(store, "beat", lambda info: Beat(alive=False), raising=False)

    with pytest.raises(LeaseLost, match="ended as it began"):
        heartbeat.hold(["q"], ["k"])


# -- what is owed ---------------------------------------------------------------------------------------------


def test_what_is_owed_is_settled_as_soon_as_the_store_can(store, heartbeat):
    first, second = lease(store, heartbeat, b"", b"")
    store.fail("settle", 1)

    heartbeat.owe([Ack(first.receipt), GiveBack(second.receipt)])
    store.wait_for_calls("settle", 2)
    heartbeat.stop()
    heartbeat.join(10)

    assert (store.stats("q").done, store.stats("q").ready) == (1, 1)


def test_a_holder_that_has_died_still_pays(store, heartbeat, owner, clock):
    (delivery,) = lease(store, heartbeat, b"")
    store.fail("settle", 1000)
    store.fail("beat", 1000)
    heartbeat.owe([Ack(delivery.receipt)])
    clock.move(31)
    owner.wait_for(("died", heartbeat.holder))

    paid = store.calls["settle"]
    store.mend()
    clock.move(1)
    store.wait_for_calls("settle", paid + 1)
    heartbeat.stop()
    heartbeat.join(10)

    assert store.stats("q").done == 1


def test_what_no_store_can_settle_goes_back_and_keeps_nothing_else_waiting(store, heartbeat, caplog):
    odd, good = lease(store, heartbeat, b"odd", b"good")

    heartbeat.owe([Nack(odd.receipt, "soon"), Ack(good.receipt)])
    heartbeat.pay()

    assert (store.stats("q").done, store.stats("q").ready) == (1, 1)
    assert "this cannot be settled" in caplog.text


def test_what_cannot_be_paid_now_stays_owed(store, heartbeat):
    (delivery,) = lease(store, heartbeat, b"")
    store.fail("settle", 1000)
    heartbeat.owe([Ack(delivery.receipt)])

    with pytest.raises(BackendError):
        heartbeat.pay()
    store.mend()
    heartbeat.pay()

    assert store.stats("q").done == 1


# -- processes ------------------------------------------------------------------------------------------------


@pytest.fixture
def child():
    """A process of its own that described itself as a holder."""
    program = "import sys, msgspec; from holdfast.heartbeat import this_process; "
    program += "print(msgspec.json.encode(this_process('child')).decode(), flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield child
    child.kill()
    child.communicate()


def described(child):
    from holdfast.delivery import HolderInfo

    return msgspec.json.decode(child.stdout.readline(), type=HolderInfo)


def test_a_process_that_lives_has_not_gone():
    me = this_process()

    assert me.pid_start > 0
    assert gone_holders([me]) == []


@pytest.mark.slow
def test_a_process_that_was_killed_has_gone_even_before_its_parent_looks(child):
    holder = described(child)
    assert gone_holders([holder]) == []

    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped yet

    assert gone_holders([holder]) == [holder]
    child.wait()
    assert gone_holders([holder]) == [holder]


def test_a_pid_that_is_in_use_again_is_not_the_old_process():
    before = msgspec.structs.replace(this_process(), pid_start=1)

    assert gone_holders([before]) == [before]


@pytest.mark.parametrize("change", [{"host": "other"}, {"boot": "other"}, {"pid": 0}], ids=["host", "boot", "no pid"])
def test_nothing_is_said_of_processes_elsewhere(change):
    elsewhere = msgspec.structs.replace(this_process(), pid_start=1, **change)

    assert gone_holders([elsewhere]) == []
