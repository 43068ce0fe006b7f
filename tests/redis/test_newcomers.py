"""What somebody reads who opens the wrong thing: every error says what to write instead, in words read here."""

import socketserver
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hiredis import Reader

from holdfast import App, BackendError
from holdfast.errors import ConfigError, NotSupported
from tests.disk.layers import cannot
from tests.ports import HOST, Port
from tests.redis.programs import lacking, until
from tests.redis.sentinels import NAME

KEEPS = {"appendonly": "yes"}


def told(url, error=BackendError, **retryable):
    """Return what a first send to a URL is answered with."""
    with App(url, logger=None) as app, pytest.raises(error) as caught:
        app.queue("mail").send(b"one")
    assert all(getattr(caught.value, name) == value for name, value in retryable.items())
    return str(caught.value)


# -- nothing there, or something else -------------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_asked_for():
    port = Port()

    said = told(f"redis://{HOST}:{port.number}", retryable=True)

    port.release()
    assert f"{HOST}:{port.number} cannot be reached" in said
    assert "is it running, and is this its port?" in said


def test_a_socket_that_is_not_there_is_asked_for(tmp_path):
    assert "is it running, and is this its unixsocket?" in told(f"redis+unix://{tmp_path}/none", retryable=True)


class Page(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_web_server_is_no_redis():
    with serving(HTTPServer((HOST, 0), Page)) as port:
        said = told(f"redis://{HOST}:{port}", retryable=False)

    assert f"what answers at {HOST}:{port} is no Redis or Valkey" in said
    assert "is this its port?" in said


def test_without_the_packages_one_is_told_what_to_install():
    program = """
import sys
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "hiredis" else find(name, *rest)
from holdfast import App
from holdfast.errors import NotSupported
try:
    App("redis://localhost").queues()
except NotSupported as error:
    print(error)
"""

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "pip install 'holdfast[redis]'" in said


# -- who one is ----------------------------------------------------------------------------------------------------


def test_a_missing_password_is_asked_for(redis_servers):
    server = redis_servers.single(password="secret")

    assert "write redis://:password@host or redis://user:password@host" in told(f"redis://{HOST}:{server.port}")


def test_a_wrong_password_is_told_and_not_repeated(redis_servers):
    server = redis_servers.single(password="secret")

    said = told(f"redis://:guessed@{HOST}:{server.port}", retryable=False)

    assert "it does not know this user and password" in said
    assert "guessed" not in said


def test_a_password_that_nobody_asked_for_is_told(redis_servers):
    server = redis_servers.single()

    assert "it has no password: leave it out of the URL" in told(f"redis://:guessed@{HOST}:{server.port}")


def test_a_user_without_rights_is_told_which_he_needs(redis_servers):
    server = redis_servers.single(user=["app on >word ~holdfast:* resetchannels +@all -eval -evalsha"])

    said = told(f"redis://app:word@{HOST}:{server.port}", retryable=False)

    assert "evalsha" in said
    assert "~holdfast:* +@all -@dangerous +info +role +config|get +client|unblock" in said


def test_the_rule_for_users_is_enough(redis_servers):
    rule = "~holdfast:* resetchannels +@all -@dangerous +info +role +config|get +client|unblock"
    server = redis_servers.single(user=[f"app on >word {rule}"])

    with App(f"redis://app:word@{HOST}:{server.port}", logger=None) as app:
        app.queue("mail").send(b"one")
        popped = app.queue("mail").pop(timeout=5)
        waiting = ThreadPoolExecutor(1).submit(app.backend.wait, ["mail"], [""], 30)
        until(lambda: server.info("clients")["blocked_clients"] == "1", "the wait has begun")
        app.backend.interrupt()

        assert (popped.body, waiting.result(5)) == (b"one", False)


def test_a_database_that_is_not_there_is_told(redis_servers):
    server = redis_servers.single()

    assert "it has fewer databases" in told(f"redis://{HOST}:{server.port}/99")


def test_passwords_of_sentinels_are_not_shown():
    said = told(f"redis+sentinel://{HOST}:1/{NAME}?sentinel_password=guessed&wait=1")

    assert "guessed" not in said
    assert "&wait=1" in said


# -- TLS -----------------------------------------------------------------------------------------------------------


def test_a_server_that_speaks_tls_is_opened_as_rediss(redis_servers, record_property):
    if lack := lacking(redis_servers.flavour, tls=True):
        cannot(f"TLS to {redis_servers.flavour}", lack, record_property)
    trusted = redis_servers.certificate()
    server = redis_servers.single(tls=trusted)

    assert "if it speaks TLS, write rediss://" in told(f"redis://{HOST}:{server.port}", retryable=True)
    assert "name the file of who does with ?ca=" in told(f"rediss://{HOST}:{server.port}")


def test_a_server_without_tls_is_opened_as_redis(redis_servers):
    server = redis_servers.single()

    assert "write redis:// in place of rediss://" in told(f"rediss://{HOST}:{server.port}?connect_timeout=0.2")


# -- topologies ----------------------------------------------------------------------------------------------------


def test_a_node_of_a_cluster_is_opened_as_a_cluster(cluster_place):
    host, port = cluster_place.on.addresses[0]

    said = told(f"redis://{host}:{port}", ConfigError)

    assert f"{host}:{port} is a node of a cluster: write redis+cluster://{host}:{port}" in said


def test_a_server_alone_is_no_cluster(redis_servers):
    server = redis_servers.single()

    said = told(f"redis+cluster://{HOST}:{server.port}", retryable=False)

    assert "it is no cluster: write redis:// in place of redis+cluster://" in said


def test_a_sentinel_is_opened_as_one(sentinel_place):
    host, port = sentinel_place.on.addresses[0]

    said = told(f"redis://{host}:{port}", ConfigError)

    assert f"{host}:{port} is a Sentinel: write redis+sentinel://{host}:{port}/{NAME}" in said


def test_a_server_is_no_sentinel(redis_servers):
    server = redis_servers.single()

    said = told(f"redis+sentinel://{HOST}:{server.port}/main", retryable=False)

    assert "it is no Sentinel: write redis:// in place of redis+sentinel://" in said


def test_sentinels_that_watch_another_master_say_so(sentinel_place):
    host, port = sentinel_place.on.addresses[0]

    assert "watches no master 'other'" in told(f"redis+sentinel://{host}:{port}/other")


def test_a_replica_leads_to_its_master(redis_servers):
    _, replica = redis_servers.pair()

    said = told(replica.url, retryable=True)

    assert "it is a replica: open its master, or, where Sentinels or a cluster choose one, redis+sentinel://" in said


# -- what a server must be -----------------------------------------------------------------------------------------


class Pretending(socketserver.BaseRequestHandler):
    """Speaks just enough to say what it is. No server of that age runs on machines of today."""

    said = ""

    def handle(self):
        reader = Reader(notEnoughData=Ellipsis)
        while data := self.request.recv(1 << 16):
            reader.feed(data)
            while (command := reader.gets()) is not ...:
                said = self.said.encode()
                self.request.sendall(b"$%d\r\n%s\r\n" % (len(said), said) if command[0] == b"INFO" else b"+OK\r\n")


def pretending(said):
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    return serving(Server((HOST, 0), type("Says", (Pretending,), {"said": said})))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("redis_version:6.0.16\r\n", "Redis 6.0.16"),
        ("redis_version:7.0.0\r\nvalkey_version:7.0.9\r\n", "Valkey 7.0.9"),
    ],
)
def test_a_server_that_is_too_old_is_refused_before_it_is_used(said, name):
    with pretending(said) as port:
        answer = told(f"redis://{HOST}:{port}", NotSupported)

    assert f"{HOST}:{port} is {name}, which is too old" in answer
    assert "Redis 6.2 and Valkey 7.2 are the oldest that will do: upgrade the server" in answer


def test_fsync_on_a_server_that_cannot_wait_for_its_disk_is_refused():
    with pretending("redis_version:7.0.15\r\naof_enabled:1\r\n") as port:
        assert "?fsync=1 needs WAITAOF" in told(f"redis://{HOST}:{port}?fsync=1", NotSupported)


@pytest.mark.parametrize("redis_flavour", ["valkey"], indirect=True)
def test_fsync_without_an_append_only_file_is_refused_before_anything_is_written(redis_servers):
    server = redis_servers.single()

    said = told(f"{server.url}?fsync=1", retryable=True, outcome_unknown=False)

    assert "CONFIG SET appendonly yes" in said
    assert server.ask("DBSIZE") == 0


@pytest.mark.parametrize("redis_flavour", ["valkey"], indirect=True)
def test_what_was_written_and_cannot_reach_the_disk_has_an_unknown_outcome(redis_servers):
    server = redis_servers.single(**KEEPS)

    with App(f"{server.url}?fsync=1", logger=None) as app:
        app.queue("mail").send(b"one")
        server.configure(appendonly="no")
        with pytest.raises(BackendError) as caught:
            app.queue("mail").send(b"two")

    assert caught.value.outcome_unknown
    assert "appendonly is disabled" in str(caught.value)


# -- what may cost jobs --------------------------------------------------------------------------------------------


def opened(url, times=1):
    for _ in range(times):
        with App(url, logger=None) as app:
            app.queues()


def test_a_server_that_throws_keys_away_is_warned_of_once(redis_servers):
    server = redis_servers.single(**KEEPS, maxmemory_policy="allkeys-lru")

    with pytest.warns(RuntimeWarning, match="throws keys away when it is full") as warnings:
        opened(server.url, times=2)

    assert len(warnings) == 1
    assert "maxmemory-policy allkeys-lru" in str(warnings[0].message)


def test_a_server_that_keeps_nothing_is_warned_of_once(redis_servers):
    server = redis_servers.single()

    with pytest.warns(RuntimeWarning, match="keeps nothing on its disk") as warnings:
        opened(server.url, times=2)

    assert len(warnings) == 1


@pytest.mark.parametrize("options", [KEEPS, {"save": "3600 1"}])
def test_a_server_that_keeps_what_it_has_is_not_warned_of(redis_servers, recwarn, options):
    server = redis_servers.single(**options)

    opened(server.url)

    assert list(recwarn) == []


def loading(redis_servers):
    """Return a server that was started again, and has not read back yet what it saved."""
    server = redis_servers.single()
    for number in range(20):
        server.ask("SET", number, "x" * 1000)
    server.ask("SAVE")
    server.kill()
    return server.start_loading()


def test_a_server_that_is_loading_is_warned_of_when_it_has_loaded(redis_servers, recwarn):
    server = loading(redis_servers)

    with App(server.url, logger=None) as app:
        with pytest.raises(BackendError, match="LOADING") as caught:
            app.queues()
        assert (caught.value.retryable, list(recwarn)) == (True, [])
        server.end_loading()
        with pytest.warns(RuntimeWarning, match="keeps nothing on its disk"):
            app.queues()


@pytest.mark.parametrize("redis_flavour", ["valkey"], indirect=True)
def test_a_server_that_is_loading_is_not_said_to_keep_no_append_only_file(redis_servers):
    server = loading(redis_servers)

    said = told(f"{server.url}?fsync=1", retryable=True, outcome_unknown=False)

    assert "LOADING" in said
    assert "appendonly" not in said


def test_looking_at_a_server_costs_one_round_trip_for_all_calls(redis_servers):
    server = redis_servers.single(**KEEPS)

    with App(server.url, logger=None) as app:
        for _ in range(20):
            app.queues()

    assert server.info("commandstats")["cmdstat_info"].startswith("calls=1,")
