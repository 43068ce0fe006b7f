"""Connections that break, fall silent, or are slow, whatever is being said: nothing is lost, nothing is done twice, and
whoever used them goes on. A call that was carried out and whose answer was lost is made again.
"""

import signal
import threading

import pytest

from holdfast.stores.redis.scripts import Script
from tests.disk.layers import cannot
from tests.faults.checker import Promises
from tests.faults.harness import Stage
from tests.faults.history import Accepted, Sent, now
from tests.faults.proxy import Proxy, Way
from tests.faults.stores import SERVERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASED = 30.0
MET = 20.0
"""Seconds in which somebody meets a cut."""


def said_in(script):
    return Script.load(script).sha.encode()


VERBS = {
    **{name: said_in(name) for name in ("send", "lease", "settle", "beat", "attend", "tidy", "silent", "look")},
    "wait": b"BZPOPMIN",
    "connect": b"SETNAME",
}
AT_THE_END = {"interrupt": b"UNBLOCK"} | {name: said_in(name) for name in ("end", "retire")}


@pytest.fixture(params=SERVERS)
def harness(request, tmp_path, record_property):
    if lack := request.param.lacks():
        cannot(f"faults of {request.param.name}", lack, record_property)
    return request.param(tmp_path)


@pytest.fixture
def load(harness, tmp_path):
    with Proxy(harness.server.address) as proxy:
        load = Load(Stage(harness), proxy, tmp_path / "end")
        yield load
        load.stage.close()


class Load:
    """A sender and a worker that reach their server through a proxy."""

    def __init__(self, stage, proxy, end):
        self.stage, self.proxy, self._end = stage, proxy, end
        host, port = proxy.address
        way = {"HOLDFAST_URL": f"redis://{host}:{port}/0?timeout=1"}
        self.worker = stage.worker("--concurrency", 5, "--grace", 5, ttl=LEASED, **way)
        self.sender = stage.sender(
            "step", 0.005, count=10**9, batch=5, pause=0.1, insist=60, until=str(end), environment=way
        )

    def wait_until_at_work(self, within=60.0):
        """Wait until something is sent, and something done, from now on."""
        since = now()
        for kind in (Sent, Accepted):
            self.stage.history.wait(
                lambda kind=kind: any(fact.at > since for fact in self.stage.history.of(kind)[-1:]),
                kind.__name__,
                within,
            )

    def end_sending(self):
        """Let all that was sent be done."""
        self._end.touch()
        assert self.sender.wait(90) == 0, self.sender.said
        self.stage.wait_until_idle(60)

    def end(self):
        """Stop the worker too, and return what is wrong with all of it."""
        self.worker.signal(signal.SIGTERM)
        assert self.worker.wait(60) == 0, self.worker.said
        return self.stage.findings(Promises(crashes=0))


MOMENTS = {
    "before the request": lambda proxy, of: proxy.cut_request(of=of),
    "in the middle of the request": lambda proxy, of: proxy.cut_request(after=20, of=of),
    "before the reply": lambda proxy, of: proxy.cut_reply(of=of),
    "in the middle of the reply": lambda proxy, of: proxy.cut_reply(after=1, of=of),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_connections_cut_at_every_verb_lose_and_double_nothing(load, moment):
    load.wait_until_at_work()

    for verb, of in VERBS.items():
        MOMENTS[moment](load.proxy, of)
        if verb == "connect":
            load.proxy.cut()  # whoever has a connection needs no other
        assert load.proxy.fired.wait(MET), f"nobody said {verb}\n{load.worker.said}"
        load.proxy.heal()
        load.wait_until_at_work()

    load.end_sending()
    for of in AT_THE_END.values():
        MOMENTS[moment](load.proxy, of)
    assert load.end() == [], load.worker.said
    assert load.proxy.fired.is_set(), f"nobody said any of {', '.join(AT_THE_END)}"


@pytest.mark.parametrize("ways", [tuple(Way), (Way.REPLY,), (Way.REQUEST,)], ids=["both", "replies", "requests"])
def test_connections_that_fall_silent_are_given_up_and_replaced(load, ways):
    load.wait_until_at_work()

    load.proxy.swallow(*ways)
    threading.Event().wait(3.0)
    load.proxy.heal()

    load.wait_until_at_work()
    load.end_sending()
    assert load.end() == [], load.worker.said


@pytest.mark.parametrize("slowness", ["latency", "drip"])
def test_slow_connections_delay_and_harm_nothing(load, slowness):
    load.wait_until_at_work()

    if slowness == "latency":
        load.proxy.delay(0.1)
    else:
        load.proxy.drip(500, every=0.001)
    for _ in range(3):
        load.wait_until_at_work()

    load.proxy.heal()
    load.end_sending()
    assert load.end() == [], load.worker.said
