"""The servers of the tests themselves: they start, die, come back and fail over as tests of a store need it."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.disk.layers import cannot
from tests.faults.harness import is_gone
from tests.redis.programs import lacking
from tests.redis.wire import ReplyError, Wire

ROOT = Path(__file__).parents[2]
ABANDONING = """
import sys, time
from pathlib import Path
from tests.redis.server import Server

print(Server(sys.argv[1], Path(sys.argv[2])).start().pid, flush=True)
time.sleep(600)
"""


def refused(server, *words):
    """Return the beginning of the error that a command is answered with; None if it is not."""
    try:
        server.ask(*words)
    except ReplyError as error:
        return str(error).partition(" ")[0]
    return None


# -- one server ---------------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_comes_back_on_its_port_with_what_it_kept(redis_servers):
    server = redis_servers.single(appendonly="yes", appendfsync="always")
    port, first = server.port, server.pid
    server.ask("SET", "kept", "yes")

    server.restart()

    assert (server.port, server.ask("GET", "kept")) == (port, "yes")
    assert server.pid != first


def test_a_server_ends_with_the_process_that_started_it(redis_flavour, tmp_path):
    starter = subprocess.Popen(
        [sys.executable, "-c", ABANDONING, redis_flavour, tmp_path / "s"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with starter:
        pid = int(starter.stdout.readline())
        starter.kill()

    assert is_gone(pid, within=5)


def test_a_server_started_by_a_thread_outlives_it(redis_servers):
    server = redis_servers.unstarted()

    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()

    assert server.ask("PING") == "PONG"


def test_a_paused_server_answers_when_it_goes_on(redis_servers):
    server = redis_servers.single()
    wire = Wire(server.address)

    with server.paused():
        wire.send("PING")
        state = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0]

    assert (state, wire.reply()) == ("T", "PONG")
    wire.close()


def test_a_full_server_refuses_writes_until_it_is_given_memory(redis_servers):
    server = redis_servers.single(maxmemory_policy="noeviction")

    server.configure(maxmemory=1)
    full = refused(server, "SET", "key", "value")
    server.configure(maxmemory=0)

    assert (full, server.ask("SET", "key", "value")) == ("OOM", "OK")


def test_a_server_can_be_held_while_it_loads(redis_servers):
    server = redis_servers.single()
    for number in range(20):
        server.ask("SET", number, "x" * 1000)
    server.ask("SAVE")
    server.kill()

    server.start_loading()
    loading = refused(server, "GET", 1)
    server.end_loading()

    assert (loading, server.ask("DBSIZE")) == ("LOADING", 20)


def test_forgotten_scripts_are_not_known_any_more(redis_servers):
    server = redis_servers.single()
    script = server.ask("SCRIPT", "LOAD", "return 1")

    server.forget_scripts()

    assert refused(server, "EVALSHA", script, 0) == "NOSCRIPT"


def test_passwords_and_further_users_hold(redis_servers):
    server = redis_servers.single(password="secret", user=["app on >word ~app:* &* +@all"])

    with Wire(server.address) as wire:
        with pytest.raises(ReplyError, match="NOAUTH"):
            wire.ask("PING")
        wire.ask("AUTH", "app", "word")
        with pytest.raises(ReplyError, match="NOPERM"):
            wire.ask("GET", "other")


def test_a_server_speaks_tls(redis_servers, record_property):
    import redis

    if lack := lacking(redis_servers.flavour, tls=True):
        cannot(f"TLS to {redis_servers.flavour}", lack, record_property)
    trusted = redis_servers.certificate()
    server = redis_servers.single(tls=trusted)

    with redis.Redis.from_url(server.url, ssl_ca_certs=str(trusted / "cert.pem")) as client:
        assert client.ping()


def test_a_replica_follows_its_master_and_refuses_writes(redis_servers):
    master, replica = redis_servers.pair()

    with master.wire() as wire:
        wire.ask("SET", "key", "value")
        assert wire.ask("WAIT", 1, 5000) == 1

    assert replica.ask("GET", "key") == "value"
    assert refused(replica, "SET", "key", "other") == "READONLY"


def test_a_server_that_does_not_start_says_why(redis_servers):
    server = redis_servers.unstarted(maxmemory="lots")

    with pytest.raises(AssertionError, match="maxmemory"):
        server.start()


# -- places on shared servers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("round", range(2))
def test_a_place_is_empty_for_each_test(redis_place, round):
    assert redis_place.ask("DBSIZE") == 0
    redis_place.ask("SET", f"{redis_place.prefix}key", "value")


def test_a_place_is_reached_by_its_url(redis_place):
    import redis

    with redis.Redis.from_url(redis_place.url) as client:
        client.set("key", "value")

    assert redis_place.ask("GET", "key") == "value"


# -- Sentinels and a Cluster --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sentinels_promote_the_replica_of_a_killed_master_and_take_it_back(redis_servers):
    sentinels = redis_servers.sentinels()
    with sentinels.master.wire() as wire:
        wire.ask("SET", "key", "value")
        assert wire.ask("WAIT", 1, 5000) == 1

    killed = sentinels.kill_master()
    promoted = sentinels.promoted(killed)
    killed.start()
    sentinels.settle()

    assert (sentinels.master, sentinels.replica) == (promoted, killed)
    assert promoted.ask("GET", "key") == "value"


@pytest.mark.slow
def test_sentinels_with_passwords_swap_master_and_replica_when_told(redis_servers):
    sentinels = redis_servers.sentinels(password="secret", sentinel_password="quiet")
    before = sentinels.replica

    assert sentinels.fail_over() is before


@pytest.mark.slow
def test_a_cluster_promotes_the_replica_of_a_killed_master_and_takes_it_back(redis_servers):
    cluster = redis_servers.cluster()
    replica = cluster.replica_of(cluster.owner("{a}"))

    killed = cluster.kill_owner("{a}")
    promoted = cluster.promoted(killed, "{a}")
    killed.start()
    cluster.settle()

    assert (promoted, cluster.replica_of(promoted)) == (replica, killed)


@pytest.mark.slow
def test_a_slot_of_a_cluster_can_be_moved_key_by_key(cluster_place):
    cluster = cluster_place.on
    slot = cluster.owner("{a}").ask("CLUSTER", "KEYSLOT", "{a}")
    owner = cluster.owner(slot)
    target = next(node for node in cluster.masters if node is not owner)
    owner.ask("SET", "{a}1", "one")

    cluster.begin_move(slot, target)
    asked = refused(owner, "GET", "{a}2")
    cluster.end_move(slot, target)

    assert (asked, refused(owner, "GET", "{a}1")) == ("ASK", "MOVED")
    assert target.ask("GET", "{a}1") == "one"
    cluster.begin_move(slot, owner)
    cluster.end_move(slot, owner)


@pytest.mark.slow
def test_tests_share_one_set_of_sentinels(sentinel_place):
    sentinel_place.ask("SET", "key", "value")

    assert sentinel_place.on.replica.follows(sentinel_place.on.master)
