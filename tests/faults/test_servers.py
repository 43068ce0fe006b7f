"""What only a server can do to those who use it: it restarts, dies, loads, is read-only, full, forgetful, silent.
Worker and sender are running processes all the while, and go on by themselves.
"""

import signal
import threading

import pytest

from holdfast.delivery import State
from tests.disk.layers import cannot
from tests.faults.checker import Promises
from tests.faults.harness import Stage
from tests.faults.history import QUEUE, Accepted, Sent, now
from tests.faults.stores import SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

LEASED = 30.0
"""A ttl longer than any of this: nobody is to lose a lease by it."""
TROUBLE = 2.0
"""Seconds that a server is in trouble."""
KEPT = {"appendonly": "yes", "save": '""'}


@pytest.fixture(params=SERVERS)
def kind(request, record_property):
    if lack := request.param.lacks():
        cannot(f"faults of {request.param.name}", lack, record_property)
    return request.param


@pytest.fixture
def load(kind, tmp_path):
    load = Load(kind(tmp_path, **KEPT), tmp_path)
    yield load
    load.stage.close()


class Load:
    """A sender and a worker at work on a server."""

    def __init__(self, harness, folder):
        self.stage, self.server, self._end = Stage(harness), harness.server, folder / "end"
        self.begin()

    def begin(self, **options):
        self.worker = self.stage.worker("--concurrency", 5, ttl=LEASED)
        given = {"count": 10**9, "batch": 5, "pause": 0.05, "insist": 60, "until": str(self._end)} | options
        self.sender = self.stage.sender("step", 0.005, **given)

    def wait_until_at_work(self, within=60.0):
        """Wait until something is sent, and something done, from now on; return after how many seconds."""
        since = now()
        for fact in (Sent, Accepted):
            self.wait_for(lambda fact=fact: self.stage.history.of(fact)[-1:], since, f"{fact.__name__}", within)
        return now() - since

    def wait_for(self, last, since, what, within):
        self.stage.history.wait(lambda: any(fact.at > since for fact in last()), what, within)

    def end(self):
        """Let all that was sent be done, and stop in order."""
        self._end.touch()
        assert self.sender.wait(90) == 0, self.sender.said
        self.stage.wait_until_idle(60)
        self.worker.signal(signal.SIGTERM)
        assert self.worker.wait(60) == 0, self.worker.said


# -- disturbances -------------------------------------------------------------------------------------------------


def rest():
    """Let the trouble last: nothing tells that somebody has met it."""
    threading.Event().wait(TROUBLE)


def restart(server):
    server.restart(kill=False)


def kill(server):
    server.kill()
    rest()
    server.start()


def load_slowly(server):
    for number in range(100):
        server.ask("SET", f"padding-{number}", "x" * 1000)
    server.ask("CLIENT", "PAUSE", 60_000, "WRITE")  # nothing is acknowledged that the file does not have
    server.ask("SAVE")
    server.kill()
    server.configure_file(["appendonly no"])  # what it has is in the file that it loads
    server.start_loading()
    rest()
    server.end_loading()


def be_read_only(server):
    server.ask("REPLICAOF", "127.0.0.1", 1)
    rest()
    server.ask("REPLICAOF", "NO", "ONE")


def lose_its_master(server):
    server.configure(replica_serve_stale_data="no")
    be_read_only(server)


def forget_scripts(server):
    server.forget_scripts()


def fall_silent(server):
    with server.paused():
        rest()


def hold_writes_back(server):
    server.ask("CLIENT", "PAUSE", int(TROUBLE * 1000), "WRITE")
    rest()


def drop_clients(server):
    server.ask("CLIENT", "KILL", "TYPE", "normal")


def drop_idle_clients(server):
    server.configure(timeout=1)
    rest()
    server.configure(timeout=0)


def take_no_more_clients(server):
    with server.wire() as wire:  # the one client that it takes
        wire.ask("CONFIG", "SET", "maxclients", 1)
        wire.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        rest()
        wire.ask("CONFIG", "SET", "maxclients", 10_000)


DISTURBANCES = [
    restart,
    kill,
    load_slowly,
    be_read_only,
    lose_its_master,
    forget_scripts,
    fall_silent,
    hold_writes_back,
    drop_clients,
    drop_idle_clients,
    take_no_more_clients,
]


@pytest.mark.parametrize("disturb", DISTURBANCES, ids=lambda disturb: disturb.__name__)
def test_worker_and_sender_live_through_whatever_a_server_does(load, disturb, record_property):
    load.wait_until_at_work()

    disturb(load.server)

    record_property("back at work", round(load.wait_until_at_work(), 2))
    load.end()
    assert load.stage.findings(Promises(crashes=0)) == [], load.worker.said


def test_all_that_was_acknowledged_is_there_when_a_server_that_keeps_it_is_killed_again_and_again(kind, tmp_path):
    """What is killed is a process: the machine goes on, and with it what its kernel was given to write."""
    durable = {"appendfsync": "everysec"} if kind.name == "valkey" else {"appendfsync": "always"}
    harness = kind(tmp_path, **KEPT | durable)
    harness.options = "?fsync=1" if kind.name == "valkey" else ""  # Redis 7.0 knows no WAITAOF
    load = Load(harness, tmp_path)
    for _ in range(3):
        load.wait_until_at_work()
        kill(load.server)
    load.wait_until_at_work()

    load.end()

    assert load.stage.findings(Promises(crashes=0)) == [], load.worker.said
    load.stage.close()


def test_a_full_server_refuses_what_is_sent_and_is_worked_off_by_old_workers_and_new_ones(load):
    load.wait_until_at_work()
    backlog = load.stage.send("step", 0.05, count=500)
    load.server.configure(maxmemory=1)
    old, load.worker = load.worker, load.stage.worker("--concurrency", 5, ttl=LEASED)
    load.stage.wait_for_holders(2)
    old.signal(signal.SIGTERM)
    assert old.wait() == 0, old.said

    load.stage.wait_for_acks(backlog, within=60)
    load.stage.wait_until_idle(60)
    sent, refused = load.stage.acknowledged(), refusals(load.server)
    load.stage.history.wait(lambda: refusals(load.server) > refused + 2, "sends are refused")
    assert load.stage.acknowledged() == sent
    load.server.configure(maxmemory=0)

    load.wait_until_at_work()
    load.end()
    assert "OOM" in load.sender.said
    assert load.stage.findings(Promises(crashes=0)) == [], load.worker.said


def refusals(server):
    return int(server.info("stats")["total_error_replies"])


def test_after_everything_was_removed_work_goes_on_and_all_that_is_needed_is_there_again(load):
    """Nothing can be saved; what is sent from then on is done, and nobody has to restart anything."""
    load.wait_until_at_work()
    load.server.flush()
    flushed = now()

    load.wait_until_at_work()
    load.wait_until_at_work()

    assert QUEUE in load.stage.backend.queues()
    assert len(load.stage.backend.holders()) == 1
    load.end()
    finals = {final.id: final for final in load.stage.finals()}
    after = {job_id for sent in load.stage.history.of(Sent) if sent.at > flushed + TROUBLE for job_id in sent.ids}
    assert {finals[job_id].state for job_id in after} <= {State.DONE}
