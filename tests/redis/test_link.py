"""The way to the servers: round trips, redirections, failovers, and what is told when it breaks."""

import os
import threading
import time
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path

import pytest

from holdfast import App
from holdfast.config import LogSettings, parse_url
from holdfast.errors import BackendError, Closed, ConfigError, HoldfastError, QueueFull
from holdfast.logged import Columns, Producer
from holdfast.message import Message, Unique
from holdfast.stores.redis import topology
from holdfast.stores.redis.blocking import Blocking
from holdfast.stores.redis.connection import Connection
from holdfast.stores.redis.errors import Reply, mapped
from holdfast.stores.redis.link import Link
from holdfast.stores.redis.options import Address, Options
from holdfast.stores.redis.scripts import Script
from holdfast.testing.conformance.cases import PROMPT, beside
from tests.disk.layers import cannot
from tests.faults.proxy import Proxy, Way
from tests.redis.programs import lacking, until
from tests.redis.wire import ReplyError

TEXT = "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1]}"
SET = Script("set", TEXT, sha1(TEXT.encode()).hexdigest())
KEYS = [f"{{{number}}}" for number in range(20)]


@pytest.fixture
def link_to():
    opened = []

    def link_to(url, **query):
        text = "&".join(f"{name}={value}" for name, value in query.items())
        opened.append(Link(Options.of(parse_url(f"{url}?{text}"))))
        return opened[-1]

    yield link_to
    for link in opened:
        link.close()


@pytest.fixture(params=["single", "sentinels", "cluster"])
def place(request, redis_shared, redis_flavour):
    yield from redis_shared.place(redis_flavour, request.param)


def through(proxy, database):
    return "redis://{}:{}/{}".format(*proxy.address, database)


def value(link, key):
    return link.call(key, ("GET", key))[0]


# -- round trips --------------------------------------------------------------------------------------------------


def test_commands_are_answered_in_order_byte_for_byte(place, link_to):
    link, key = link_to(place.url), "{a}"

    assert link.call(key, ("SET", key, b"\0\xff\r\n"), ("GET", key), ("STRLEN", key)) == [b"OK", b"\0\xff\r\n", 4]


def test_scripts_go_to_the_servers_of_their_keys(place, link_to):
    link = link_to(place.url)

    one = link.run(SET, "{a}", b"\xff")
    many = link.run_all([(SET, key, [number]) for number, key in enumerate(KEYS)])

    assert one == [b"{a}", b"\xff"]
    assert many == [[key.encode(), b"%d" % number] for number, key in enumerate(KEYS)]
    assert [value(link, key) for key in KEYS] == [b"%d" % number for number in range(20)]


def test_an_error_reply_of_one_script_leaves_the_others_alone(redis_place, link_to):
    link = link_to(redis_place.url)
    text = "return redis.error_reply('ERR ' .. KEYS[1])"

    found = link.run_all(
        [(SET, "{a}", [1]), (Script("bad", text, sha1(text.encode()).hexdigest()), "{b}", []), (SET, "{c}", [2])]
    )

    assert [isinstance(one, BackendError) for one in found] == [False, True, False]
    assert "{b}" in str(found[1])


def test_servers_are_all_asked_before_the_first_is_heard(cluster_place, link_to, monkeypatch):
    link, steps = link_to(cluster_place.url), []
    link.run_all([(SET, key, [0]) for key in KEYS])
    send, receive = Connection.send, Connection.receive
    monkeypatch.setattr(Connection, "send", lambda it, *args: (steps.append("send"), send(it, *args))[1])
    monkeypatch.setattr(
        Connection, "receive", lambda it, *args, **more: (steps.append("receive"), receive(it, *args, **more))[1]
    )

    found = link.run_all([(SET, key, [1]) for key in KEYS])

    assert found == [[key.encode(), b"1"] for key in KEYS]
    assert steps == 3 * ["send"] + 3 * ["receive"]


@pytest.mark.slow
def test_a_silent_server_spoils_no_reply_of_the_others(redis_servers, link_to):
    cluster = redis_servers.cluster(node_timeout=60)
    link, silent = link_to(cluster.url, timeout=0.5), cluster.owner(KEYS[0])
    its = [cluster.owner(key) is silent for key in KEYS]
    link.run_all([(SET, key, [0]) for key in KEYS])

    with silent.paused():
        found = link.run_all([(SET, key, [1]) for key in KEYS])
    again = link.run_all([(SET, key, [2]) for key in KEYS])

    assert [getattr(one, "outcome_unknown", False) for one in found] == its
    assert [one for one in found if type(one) is list] == [
        [key.encode(), b"1"] for key, is_its in zip(KEYS, its, strict=True) if not is_its
    ]
    assert again == [[key.encode(), b"2"] for key in KEYS]


def test_replies_that_nobody_read_are_read_by_nobody(cluster_place, link_to, monkeypatch):
    link = link_to(cluster_place.url)
    link.run_all([(SET, key, [0]) for key in KEYS])

    def interrupted(connection, number, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.run_all([(SET, key, [1]) for key in KEYS])

    assert link.run_all([(SET, key, [2]) for key in KEYS]) == [[key.encode(), b"2"] for key in KEYS]


def test_a_script_that_the_server_forgot_is_sent_with_its_text(redis_servers, link_to):
    server = redis_servers.single()
    link = link_to(server.url)
    link.run(SET, "{a}", 1)

    server.forget_scripts()

    assert link.run(SET, "{a}", 2) == [b"{a}", b"2"]


def test_any_number_of_threads_may_call(redis_place, link_to):
    link, wrong = link_to(redis_place.url), []

    def echo(number):
        for turn in range(100):
            text = b"%d-%d" % (number, turn)
            if link.call("{a}", ("ECHO", text)) != [text]:
                wrong.append(text)

    threads = [threading.Thread(target=echo, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_child_has_connections_of_its_own(redis_place, link_to):
    link = link_to(redis_place.url)
    link.call("{a}", ("SET", "{a}", "parent"))
    child = os.fork()
    if child == 0:
        try:
            link.call("{a}", ("SET", "{a}", "child"))
            os._exit(0)
        finally:
            os._exit(1)

    assert os.waitpid(child, 0)[1] == 0
    assert value(link, "{a}") == b"child"


def test_a_closed_link_refuses_every_call(redis_place, link_to):
    link = link_to(redis_place.url)
    link.close()
    link.close()

    with pytest.raises(Closed):
        link.call("{a}", ("PING",))
    with pytest.raises(Closed):
        link.run(SET, "{a}", 1)


# -- ways in ------------------------------------------------------------------------------------------------------


def test_a_unix_socket_is_a_way(redis_servers, link_to):
    assert link_to(redis_servers.single().socket_url).call("", ("PING",)) == [b"PONG"]


def test_users_and_passwords_are_told(redis_servers, link_to):
    server = redis_servers.single(password="secret", user=["app on >word ~app:* &* +@all"])
    host = server.url.rpartition("@")[2]

    assert link_to(f"redis://app:word@{host}").call("app:a", ("GET", "app:a")) == [None]
    for url, says in (
        (f"redis://{host}", "asks for a password"),
        (f"redis://:wrong@{host}", "does not know this user"),
    ):
        with pytest.raises(BackendError, match=says) as refused:
            link_to(url).call("", ("PING",))
        assert not refused.value.retryable
    with pytest.raises(BackendError, match="may not do this"):
        link_to(f"redis://app:word@{host}").call("other", ("GET", "other"))


def test_a_server_is_known_by_its_certificate(redis_servers, link_to, record_property):
    if lack := lacking(redis_servers.flavour, tls=True):
        cannot(f"TLS to {redis_servers.flavour}", lack, record_property)
    trusted = redis_servers.certificate()
    server = redis_servers.single(tls=trusted)

    assert link_to(server.url, ca=trusted / "cert.pem").call("", ("PING",)) == [b"PONG"]
    assert link_to(server.url, verify=0).call("", ("PING",)) == [b"PONG"]
    with pytest.raises(BackendError, match=r"cannot be reached.*certificate"):
        link_to(server.url).call("", ("PING",))


# -- what breaks --------------------------------------------------------------------------------------------------


def test_what_never_left_is_told_from_what_may_have_arrived(redis_place, link_to):
    with Proxy(redis_place.on.address) as proxy:
        link = link_to(through(proxy, redis_place.database))
        proxy.cut_reply(of=b"EVALSHA")
        with pytest.raises(BackendError, match="before the answer came") as unknown:
            link.run(SET, "{a}", 1)
        proxy.down()
        with pytest.raises(BackendError, match="cannot be reached") as known:
            link.run(SET, "{a}", 2)
        proxy.up()

        assert link.call("{a}", ("PING",)) == [b"PONG"]
    assert (unknown.value.retryable, unknown.value.outcome_unknown) == (True, True)
    assert (known.value.retryable, known.value.outcome_unknown) == (True, False)


def test_nothing_is_sent_twice(redis_place, link_to):
    with Proxy(redis_place.on.address) as proxy:
        link = link_to(through(proxy, redis_place.database))
        proxy.cut_reply(of=b"INCR")
        with pytest.raises(BackendError):
            link.call("{a}", ("INCR", "{a}"))

        assert value(link, "{a}") == b"1"


def test_silence_ends_a_call_in_its_time(redis_place, link_to):
    with Proxy(redis_place.on.address) as proxy:
        link = link_to(through(proxy, redis_place.database), timeout=0.2)
        link.call("", ("PING",))
        proxy.swallow(Way.REPLY)
        began = time.monotonic()
        with pytest.raises(BackendError) as silent:
            link.call("", ("PING",))

    assert silent.value.outcome_unknown
    assert time.monotonic() - began < 0.6


def test_an_answer_may_come_byte_by_byte(redis_place, link_to):
    with Proxy(redis_place.on.address) as proxy:
        link = link_to(through(proxy, redis_place.database))
        proxy.drip(1)

        assert link.run(SET, "{a}", "dripping") == [b"{a}", b"dripping"]


def test_a_server_that_came_back_is_used_again(redis_servers, link_to):
    server = redis_servers.single()
    link = link_to(server.url)
    link.call("", ("PING",))

    server.restart()

    assert link.call("", ("PING",)) == [b"PONG"]  # the idle connection was seen to be dead


def test_a_server_that_loads_or_is_full_says_so(redis_servers, link_to):
    server = redis_servers.single(maxmemory_policy="noeviction")
    link = link_to(server.url)
    link.call("", *[("SET", number, "x" * 1000) for number in range(20)])
    server.configure(maxmemory=1)
    with pytest.raises(QueueFull, match="maxmemory"):
        link.run(SET, "{a}", 1)
    server.configure(maxmemory=0)
    server.ask("SAVE")
    server.kill()

    server.start_loading()
    with pytest.raises(BackendError, match=r"cannot be reached|LOADING") as loading:
        link.run(SET, "{a}", 1)
    server.end_loading()

    assert loading.value.retryable
    assert not loading.value.outcome_unknown
    assert link.run(SET, "{a}", 2) == [b"{a}", b"2"]


def test_a_write_without_its_replica_is_not_called_safe(redis_servers, link_to):
    master, replica = redis_servers.pair()
    assert link_to(master.url, wait=1).run(SET, "{a}", 1, durable=True) == [b"{a}", b"1"]
    hurried = link_to(master.url, wait=1, timeout=0.3)

    with replica.paused(), pytest.raises(BackendError, match="only 0 of 1 replicas") as short:
        hurried.run(SET, "{a}", 2, durable=True)

    assert (short.value.retryable, short.value.outcome_unknown) == (True, True)


def test_what_is_refused_beside_a_write_does_not_make_it_safe(redis_servers, link_to):
    master, replica = redis_servers.pair()
    link_to(master.url, wait=1).run(SET, "{a}", 1, durable=True)
    hurried = link_to(master.url, wait=1, timeout=0.3)
    text = "return redis.error_reply('ERR no')"
    refused = Script("bad", text, sha1(text.encode()).hexdigest())
    hurried.run_all([(SET, "{a}", [1]), (refused, "{a}", [])])  # both are known to the server now

    with replica.paused():
        written, _ = hurried.run_all([(SET, "{a}", [2]), (refused, "{a}", [])], durable=True)

    assert isinstance(written, BackendError)
    assert written.outcome_unknown


def send_one(app):
    app.queue("mail").send(b"one", id="1")


def send_many(app):
    app.queue("mail").send_many([Message(body=b"one", id="1"), Message(body=b"two", id="2")])


def send_unique(app):
    app.queue("mail").send(b"one", unique=Unique("key"))


def put_dead(app):
    app.backend.put_dead("mail", Message(body=b"one", id="1"), "no", error=None, attempts=1, crashes=0)


def append(app):
    app.backend.open_logs().append("log", 0, Columns([b"one"]), producer=Producer(1, 0, 0))


@pytest.mark.parametrize("store", [send_one, send_many, send_unique, put_dead, append])
def test_what_was_stored_before_is_as_safe_as_asked_when_it_is_sent_again(redis_servers, store):
    master, replica = redis_servers.pair()
    with (
        App(master.url, logger=None) as hasty,
        App(f"{master.url}?wait=1&timeout=0.3", logger=None) as careful,
    ):
        hasty.queue("mail").send(b"zero")
        hasty.backend.open_logs().declare("log", LogSettings())
        with replica.paused():
            store(hasty)
            with pytest.raises(BackendError, match="only 0 of 1 replicas") as short:
                store(careful)

    assert short.value.outcome_unknown


@contextmanager
def busy(server):
    """Let a script run that does not end, long enough for the server to say so."""
    server.configure(lua_time_limit=10)
    with server.wire() as wire:
        wire.send("EVAL", "while true do end", 0)
        until(lambda: refused(server) == "BUSY", "the server is busy")
        yield
        server.ask("SCRIPT", "KILL")


def refused(server):
    try:
        server.ask("DBSIZE")
    except ReplyError as error:
        return str(error).partition(" ")[0]


def test_a_script_of_somebodys_that_hangs_is_waited_for(redis_servers, link_to):
    server = redis_servers.single()

    with busy(server), pytest.raises(BackendError, match="SCRIPT KILL ends it") as new:
        link_to(server.url).call("", ("PING",))

    assert (new.value.retryable, new.value.outcome_unknown) == (True, False)


@pytest.mark.parametrize(
    ("inside", "kind", "retryable"),
    [
        ("READONLY You can't write against a read only replica.", BackendError, True),
        ("-OOM command not allowed when used memory > 'maxmemory'.", QueueFull, True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", BackendError, False),
    ],
)
def test_errors_inside_scripts_of_redis_6_count_as_what_they_are(inside, kind, retryable):
    said = f"ERR Error running script (call to f_{'0' * 40}): @user_script:1: @user_script: 1: {inside}"

    error = mapped(reply := Reply(said), "host:6379")

    assert (type(error).__mro__.count(kind), error.retryable) == (1, retryable)
    assert reply.code == inside.split(" ")[0].removeprefix("-"), "the link would not look for another master"


def test_what_breaks_before_anything_was_sent_has_a_known_outcome(redis_place, link_to):
    with Proxy(redis_place.on.address) as proxy:
        proxy.cut_request(of=b"\r\nINFO\r\n")
        with pytest.raises(BackendError) as cut:
            link_to(through(proxy, redis_place.database)).run(SET, "{a}", 1)

    assert proxy.fired.is_set()
    assert (cut.value.retryable, cut.value.outcome_unknown) == (True, False)


@pytest.mark.parametrize("what", ["ca", "cert"])
def test_a_file_of_certificates_that_is_not_there_is_named(redis_servers, link_to, what):
    server = redis_servers.single()

    with pytest.raises(ConfigError, match=f"{what}=/none"):
        link_to(server.url.replace("redis:", "rediss:"), **{what: "/none"}).call("", ("PING",))


# -- who has a key ------------------------------------------------------------------------------------------------

LOW, HIGH = Address("low", 1), Address("high", 2)
OF_LOW, OF_HIGH = "{b}", "{a}"


@pytest.fixture
def two_masters(monkeypatch):
    """A cluster of two, what was asked of whom, and what holds the answers back while it is not set."""
    asked, answering = [], threading.Event()
    answering.set()

    def ask(options, address, command):
        asked.append(address)
        assert answering.wait(10)
        return [[0, 8191, [b"low", 1]], [8192, 16383, [b"high", 2]]]

    monkeypatch.setattr(topology, "_ask", ask)
    cluster = topology.Cluster(Options.of(parse_url("redis+cluster://low:1,high:2")))
    assert (cluster.find(OF_LOW), cluster.find(OF_HIGH)) == (LOW, HIGH)
    asked.clear()
    return cluster, asked, answering


def test_the_way_to_a_server_is_known_while_another_is_looked_for(two_masters):
    cluster, asked, answering = two_masters
    answering.clear()
    cluster.stale(LOW)
    looking = beside(lambda: cluster.find(OF_LOW))
    until(lambda: asked, "somebody is asked")

    assert cluster.find(OF_HIGH) == HIGH

    answering.set()
    assert looking.result(PROMPT) == LOW
    assert cluster.find(OF_LOW) == LOW
    assert len(asked) == 1


def test_who_failed_is_asked_last_and_who_knows_better_first(two_masters):
    cluster, asked, _ = two_masters
    cluster.stale(LOW)
    cluster.find(OF_LOW)
    cluster.stale(HIGH, learnt=Address("new", 3))
    cluster.find(OF_HIGH)

    assert asked == [HIGH, Address("new", 3)]


# -- failovers ----------------------------------------------------------------------------------------------------


def answered(link, key):
    """Call until the call succeeds, as the core does; what fails meanwhile is to be retryable."""

    def tried():
        try:
            return link.run(SET, key, "again") == [key.encode(), b"again"]
        except BackendError as error:
            return not error.retryable

    until(tried, f"{key} is written")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
def test_a_promoted_replica_is_found(redis_servers, link_to, kind):
    on = getattr(redis_servers, kind)()
    link = link_to(on.url)
    link.run(SET, "{a}", 1)

    old = on.kill_master() if kind == "sentinels" else on.kill_owner("{a}")

    answered(link, "{a}")
    assert all(old.address != (one.host, one.port) for one in link.masters())


@pytest.mark.slow
def test_a_slot_that_is_moved_is_followed(redis_servers, link_to):
    cluster = redis_servers.cluster()
    link, key = link_to(cluster.url), "{a}"
    link.run(SET, key, 1)
    owner = cluster.owner(key)
    slot = owner.ask("CLUSTER", "KEYSLOT", key)
    target = next(master for master in cluster.masters if master is not owner)

    cluster.begin_move(slot, target)
    assert link.run(SET, key, "staying") == [b"{a}", b"staying"]
    cluster.move_keys(slot, target)
    with pytest.raises(BackendError, match="being moved") as half:
        link.run(SET, key, "asked")
    assert link.call(key, ("GET", key)) == [b"staying"], "a command of one key is whole wherever it is"
    cluster.end_move(slot, target)

    assert (half.value.retryable, half.value.outcome_unknown) == (True, False)
    assert link.run(SET, key, "moved") == [b"{a}", b"moved"]
    assert target.ask("GET", key) == "moved"


# -- waits --------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting():
    opened = []

    def waiting(link):
        opened.append(Blocking(link))
        return opened[-1]

    yield waiting
    for one in opened:
        one.close()


def later(do):
    """Do it in another thread once this one waits, at about that time; a wait that had not begun would see it too."""
    thread = threading.Timer(0.05, do)
    thread.start()
    return thread


def pops(link, keys, timeout):
    return [(group[0], ("BZPOPMIN", *group, timeout)) for group in link.together(keys)]


def test_a_wait_returns_what_came_first(place, link_to, waiting):
    link = link_to(place.url)
    blocking, keys = waiting(link), [f"{place.prefix}{{{name}}}" for name in "abc"]
    adding = later(lambda: link.call(keys[1], ("ZADD", keys[1], 7, "m")))

    found = blocking.wait(pops(link, keys, 10), 10)

    adding.join()
    assert [reply for _, reply in found] == [[keys[1].encode(), b"m", b"7"]]
    assert blocking.wait(pops(link, keys, 0.05), 0.05) == []


def test_an_interrupt_ends_a_wait_and_leaves_none_behind(place, link_to, waiting):
    link = link_to(place.url)
    blocking, keys = waiting(link), [f"{place.prefix}{{{name}}}" for name in "abc"]
    interrupting = later(blocking.interrupt)

    assert blocking.wait(pops(link, keys, 30), 30) == []
    interrupting.join()
    link.call(keys[0], ("ZADD", keys[0], 7, "m"))

    assert value_count(link, keys[0]) == 1, "a wait that was ended took it"


def value_count(link, key):
    return link.call(key, ("ZCARD", key))[0]


def test_an_interrupt_before_a_wait_ends_that(redis_place, link_to, waiting):
    link = link_to(redis_place.url)
    blocking = waiting(link)

    blocking.interrupt()

    assert blocking.wait(pops(link, ["a"], 30), 30) == []


def test_what_is_closed_while_it_waits_lets_go_of_everything(redis_place, link_to, waiting):
    link = link_to(redis_place.url)
    blocking = waiting(link)
    before = len(list(Path("/proc/self/fd").iterdir()))
    closing = later(blocking.close)

    assert blocking.wait(pops(link, ["a"], 30), 30) == []
    closing.join()

    assert blocking.wait(pops(link, ["a"], 30), 30) == []
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1, "the link's own connection"


def test_a_wait_ends_with_its_server(redis_servers, link_to, waiting):
    server = redis_servers.single()
    link = link_to(server.url)
    blocking = waiting(link)
    killing = later(server.kill)

    with pytest.raises(HoldfastError) as ended:
        blocking.wait(pops(link, ["a"], 30), 30)
    killing.join()
    server.start()

    assert ended.value.retryable
    assert blocking.wait(pops(link, ["a"], 0.05), 0.05) == []


def test_an_interrupt_ends_a_wait_that_its_server_has_not_begun(redis_servers, link_to, waiting):
    server = redis_servers.single()
    link = link_to(server.url)
    blocking = waiting(link)
    blocking.wait(pops(link, ["a"], 0.01), 0.01)
    server.ask("CLIENT", "PAUSE", 500, "WRITE")  # as it does while it hands its place to another
    began = time.monotonic()
    interrupting = later(blocking.interrupt)

    assert blocking.wait(pops(link, ["a"], 30), 30) == []
    interrupting.join()
    assert time.monotonic() - began < 5


def test_waits_for_ever_other_keys_take_no_connection_each(place, link_to, waiting):
    link = link_to(place.url)
    blocking, keys = waiting(link), [f"{place.prefix}{{{number}}}" for number in range(40)]
    before = len(list(Path("/proc/self/fd").iterdir()))

    for key in keys:
        blocking.wait(pops(link, [key], 0.01), 0.01)

    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 20
