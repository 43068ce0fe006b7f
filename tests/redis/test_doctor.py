"""The doctor on real servers: each thing that can be wrong is made wrong once, found, and explained."""

import time

import pytest

from holdfast import App, Retry
from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.stores import open_store
from holdfast.stores.redis import doctor, key_findings
from holdfast.stores.redis.admission import Server
from holdfast.stores.redis.options import Address, Options
from holdfast.stores.redis.server_findings import server_findings
from tests.ports import HOST
from tests.redis.programs import until
from tests.redis.sentinels import NAME

SOUND = {"appendonly": "yes"}
ALONE = pytest.mark.parametrize("redis_flavour", ["valkey"], indirect=True)


def examined(url):
    with App(url, logger=None) as app:
        return app.backend.examine()


def found(url, level):
    """Return what was found of this level, each with its reason and advice, as one text."""
    findings = [one for one in examined(url) if one.level == level]
    assert level == "ok" or all(one.why and one.advice for one in findings)
    return "\n".join(f"{one.what}: {one.why}: {one.advice}" for one in findings)


def troubles(url):
    return [one for one in examined(url) if one.level != "ok"]


def judged(options=None, config=None, **info):
    """Return what is found of a server that says so of itself."""
    server = Server(Address(HOST, 1), {"redis_version": "7.4.0", "role": "master"} | info, config)
    single = Options(text="redis://", topology="single", addresses=(server.address,), **options or {})
    return "\n".join(f"{one.level} {one.what}: {one.why}: {one.advice}" for one in server_findings(server, single))


# -- a server ------------------------------------------------------------------------------------------------------


def test_a_sound_server_has_no_troubles(redis_servers):
    server = redis_servers.single(**SOUND)

    assert troubles(server.url) == []

    well = found(server.url, "ok")
    for what in (
        f"{HOST}:{server.port} is {'Valkey 9' if server.flavour == 'valkey' else 'Redis'}",
        "its append-only file is synced each second", "throws nothing away", "all of its machine", "of 10000 clients",
        "lets this user do all that is needed", "its clock agrees", "answers in", "each with an owner",
    ):  # fmt: skip
        assert what in well


def test_a_server_that_is_not_there_is_one_error_and_no_exception(redis_servers):
    server = redis_servers.single()
    server.kill()

    [one] = troubles(server.url)

    assert one.level == "error"
    assert "Connection refused" in one.why


def test_a_server_that_is_opened_wrongly_is_an_error_and_no_exception(cluster_place):
    host, port = cluster_place.on.addresses[0]

    assert f"write redis+cluster://{host}:{port}" in found(f"redis://{host}:{port}", "error")


def test_a_server_that_keeps_nothing_is_found(redis_servers):
    assert "keeps nothing on its disk" in found(redis_servers.single().url, "warn")


def test_a_server_that_keeps_snapshots_only_is_found_with_what_is_not_in_them(redis_servers):
    server = redis_servers.single(save="3600 1000000")
    server.ask("SET", "key", "value")

    assert "keeps snapshots only, 1 changes since the last" in found(server.url, "warn")


def test_an_append_only_file_that_is_synced_when_the_system_likes_is_found(redis_servers):
    server = redis_servers.single(**SOUND, appendfsync="no")

    assert "synced when the system sees fit" in found(server.url, "warn")


def test_one_that_is_synced_always_is_told(redis_servers):
    server = redis_servers.single(**SOUND, appendfsync="always")

    assert "before it answers" in found(server.url, "ok")


def test_a_snapshot_that_failed_is_found(redis_servers):
    server = redis_servers.single(**SOUND)
    (server.folder / "dump.rdb").mkdir()
    (server.folder / "dump.rdb" / "in-the-way").touch()
    server.ask("BGSAVE")
    until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot has failed")

    assert "its last snapshot failed" in found(server.url, "error")


@pytest.mark.filterwarnings("ignore:.* throws keys away")
def test_a_policy_that_throws_keys_away_is_found(redis_servers):
    server = redis_servers.single(**SOUND, maxmemory_policy="allkeys-lru")
    in_general = found(server.url, "warn")
    server.configure(maxmemory="1gb")

    assert "throws keys away when it is full (maxmemory-policy allkeys-lru)" in in_general
    assert "throws keys away" in found(server.url, "error")


def test_a_full_server_is_found(redis_servers):
    server = redis_servers.single(**SOUND)
    server.configure(maxmemory=1)

    assert "its maxmemory: when it is full, sends raise QueueFull" in found(server.url, "error")


def test_a_server_that_is_nearly_full_is_found():
    assert "warn 127.0.0.1:1 uses 95 bytes of 100 bytes" in judged(maxmemory="100", used_memory="95")
    assert "the system kills it" in judged(total_system_memory="100", used_memory="95")


def test_too_many_clients_are_found():
    assert "warn 127.0.0.1:1 has 9 of 10 clients" in judged(maxclients="10", connected_clients="9")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"timeout": 1}, "closes connections that are idle for 1 s"),
        ({"tcp_keepalive": 0}, "does not notice clients whose machine has gone"),
        ({"lua_time_limit": 50}, "calls itself BUSY after 50 ms of a script"),
    ],
)
def test_settings_that_hurt_are_found(redis_servers, options, what):
    assert what in found(redis_servers.single(**SOUND, **options).url, "warn")


def test_a_script_that_hangs_is_found(redis_servers):
    server = redis_servers.single(**SOUND, lua_time_limit=1)
    wire = server.wire()
    wire.send("EVAL", "while true do end", 0)
    busy = until(lambda: "BUSY" in found(f"{server.url}?timeout=1", "error"), "the script is noticed")
    server.ask("SCRIPT", "KILL")
    wire.close()

    assert busy


def test_a_clock_that_is_wrong_is_found():
    assert doctor._apart(5_000, 1_000, 1_002) == 3_998
    assert doctor._apart(500, 1_000, 1_002) == -500
    assert doctor._apart(1_001, 1_000, 1_002) == 0


def test_a_clock_that_is_wrong_is_explained(redis_servers, monkeypatch):
    server = redis_servers.single(**SOUND)
    monkeypatch.setattr(doctor.SYSTEM.__class__, "wall", lambda _: int(time.time() * 1000) + 60_000)

    said = found(server.url, "warn")

    assert "its clock is 60 s behind this machine's" in said
    assert "NTP" in said


def test_a_server_that_is_far_away_is_found(redis_servers, monkeypatch):
    monkeypatch.setattr(doctor, "SLOW", 0.0)

    assert "every call takes at least that long" in found(redis_servers.single(**SOUND).url, "warn")


def test_rights_that_are_missing_are_named(redis_servers):
    refused = "-config -client|unblock -role -xtrim -eval"
    server = redis_servers.single(**SOUND, user=[f"app on >word ~holdfast:* +@all {refused}"])
    url = f"redis://app:word@{HOST}:{server.port}"

    errors, warnings = found(url, "error"), found(url, "warn")

    for command in ("CLIENT UNBLOCK", "XTRIM", "EVAL"):
        assert f"does not let this user {command}:" in errors
    for command in ("CONFIG GET", "ROLE"):
        assert f"does not let this user {command}:" in warnings
    assert "ACL SETUSER … ~holdfast:* +@all -@dangerous +info +role +config|get +client|unblock" in errors


def test_the_advised_rights_are_enough(redis_servers):
    rule = "~holdfast:* resetchannels +@all -@dangerous +info +role +config|get +client|unblock"
    server = redis_servers.single(**SOUND, user=[f"app on >word {rule}"])
    server.ask("XADD", "theirs", "*", "a", "b")

    assert troubles(f"redis://app:word@{HOST}:{server.port}") == []


def test_what_the_url_asks_for_and_the_server_cannot_do_is_an_error(redis_servers):
    server = redis_servers.single()

    said = found(f"{server.url}?fsync=1", "error")

    assert ("CONFIG SET appendonly yes" if server.flavour == "valkey" else "needs WAITAOF") in said


# -- replicas ------------------------------------------------------------------------------------------------------


def test_a_replica_is_found_for_one(redis_servers):
    master, replica = redis_servers.pair(**SOUND)

    assert f"is a replica of {HOST}:{master.port}" in found(replica.url, "error")


def test_sends_that_do_not_wait_for_replicas_are_found(redis_servers):
    master, _ = redis_servers.pair(**SOUND)
    until(lambda: "state=online" in master.info("replication")["slave0"], "the replica is online")

    said = found(master.url, "warn")

    assert "has 1 replicas, and sends do not wait for them" in said
    assert "?wait=1" in said
    assert "1 of 1 replicas have a send before it returns (?wait)" in found(f"{master.url}?wait=1", "ok")
    assert "has 1 replicas that keep up, and ?wait=2 asks for more" in found(f"{master.url}?wait=2&timeout=1", "error")


def test_a_replica_that_lags_is_found():
    said = judged({"wait": 1}, connected_slaves="1", slave0="ip=10.0.0.2,port=6379,state=online,offset=1,lag=42")

    assert "warn 127.0.0.1:1: its replica 10.0.0.2:6379 does not keep up (online, lag 42 s)" in said
    assert "error 127.0.0.1:1 has 0 replicas that keep up, and ?wait=1 asks for more" in said


# -- Sentinels -----------------------------------------------------------------------------------------------------


def test_sentinels_that_are_well_are_told(sentinel_place):
    well = found(sentinel_place.url, "ok")

    assert "sees 2 others, and a quorum of 2 can be had" in well
    assert "Sentinel" not in found(sentinel_place.url, "warn")


def test_one_sentinel_in_the_url_is_too_few(sentinel_place):
    host, port = sentinel_place.on.addresses[0]

    assert "the URL names one Sentinel" in found(f"redis+sentinel://{host}:{port}/{NAME}", "warn")


@ALONE
def test_sentinels_that_are_hasty_without_a_quorum_or_gone_are_found(redis_servers):
    sentinels = redis_servers.sentinels(**SOUND)
    for sentinel in sentinels.sentinels:
        sentinel.ask("SENTINEL", "DEBUG", "ping-period", 1000)
    hasty = found(sentinels.url, "warn")
    for sentinel in sentinels.sentinels[1:]:
        sentinel.kill()
    first = sentinels.sentinels[0]
    until(lambda: "NOQUORUM" in found(sentinels.url, "error"), "the others are taken for dead")
    gone, no_quorum = found(sentinels.url, "warn"), found(sentinels.url, "error")
    first.kill()

    assert "takes a master for dead after 1000 ms, and pings once in 1000 ms" in hasty
    assert "down-after-milliseconds 5000" in hasty
    assert f"Sentinel {HOST}:{sentinels.sentinels[1].port} does not answer" in gone
    assert "when the master dies, nobody takes its place" in no_quorum
    assert "no Sentinel of the URL answers" in found(sentinels.url, "error")


@ALONE
def test_a_master_that_nobody_could_take_the_place_of_is_found(redis_servers):
    master, sentinel = redis_servers.single(**SOUND), redis_servers.unstarted(sentinel=True)
    sentinel.configure_file([f"sentinel monitor {NAME} {HOST} {master.port} 1"])
    sentinel.start()

    said = found(f"redis+sentinel://{HOST}:{sentinel.port}/{NAME}", "warn")

    assert f"knows no replica of '{NAME}'" in said


# -- Cluster -------------------------------------------------------------------------------------------------------


def test_a_cluster_that_is_well_is_told_and_what_to_do_when_slots_move(cluster_place):
    well = found(cluster_place.url, "ok")

    assert "all 16384 slots are served; a missing master stops the others too" in well
    if cluster_place.on.nodes[0].flavour == "valkey":
        assert "moves slots as a whole" in well
    else:
        assert "a queue is away while its slot moves" in well


@ALONE
def test_slots_that_move_nodes_that_fail_and_masters_without_a_replica_are_found(redis_servers):
    cluster = redis_servers.cluster(**SOUND)
    slot, target = 1, cluster.nodes[1]
    cluster.begin_move(slot, target)
    moving = found(cluster.url, "warn")
    cluster.end_move(slot, target)
    replica = cluster.replica_of(target)
    replica.kill()
    until(lambda: f"node {HOST}:{replica.port} fails" in found(cluster.url, "warn"), "the node is taken for dead")
    alone = found(cluster.url, "warn")
    target.kill()
    until(lambda: "slots have no master that answers" in found(f"{cluster.url}?timeout=2", "error"), "slots are gone")

    assert "is moving 1 slots key by key" in moving
    assert f"master {HOST}:{target.port} has no replica" in alone


@ALONE
def test_full_coverage_is_told(redis_servers):
    cluster = redis_servers.cluster(**SOUND, cluster_require_full_coverage="no")

    assert "the others go on without a missing master" in found(cluster.url, "ok")


# -- what is in it -------------------------------------------------------------------------------------------------


def test_keys_that_belong_to_nobody_are_found(redis_place):
    redis_place.ask("SET", f"{redis_place.prefix}queue:{{gone}}:settings", 1)
    redis_place.ask("SET", f"{redis_place.prefix}what", 1)
    url = f"{redis_place.url}?prefix={redis_place.prefix}"

    said = found(url, "warn")

    assert "1 keys of queue 'gone', which is not known" in said
    assert "1 keys of nobody, which is not known" in said


@pytest.mark.parametrize(("options", "command"), [({"key": "k"}, ("DEL", "job:one")), ({}, ("HDEL", "plain", "one"))])
def test_parts_of_jobs_that_are_gone_are_found(redis_place, options, command):
    url = f"{redis_place.url}?prefix={redis_place.prefix}"
    with App(url, logger=None) as app:
        app.queue("a{b}%").send(b"one", id="one", **options)
    before = found(url, "warn")
    verb, key, *rest = command
    assert redis_place.ask(verb, f"{redis_place.prefix}queue:{{a%7Bb%7D%25}}:{key}", *rest) == 1

    assert "without their jobs" not in before
    assert "not known" not in before
    assert "1 bodies or histories without their jobs" in found(url, "warn")


def test_what_is_left_of_a_queue_that_was_destroyed_is_no_trouble(redis_place):
    url = f"{redis_place.url}?prefix={redis_place.prefix}"
    with App(url, logger=None) as app:

        @app.task(queue="mail", result=60)
        def send() -> int:
            return 1

        with app.worker():
            assert send.enqueue().result(timeout=10) == 1
        app.log("clicks").append(b"one")
        app.queue("mail").destroy()
        app.log("clicks").destroy()

        assert "not known" not in found(url, "warn")


def test_a_store_in_use_has_no_keys_of_nobody(redis_place):
    url = f"{redis_place.url}?prefix={redis_place.prefix}"
    redis_place.ask("XADD", "orders", "*", "number", 1)
    with App(url, logger=None) as app:
        seen = []

        @app.task(queue="a:{b}%", retry=Retry(attempts=3, base=0))
        def fail() -> None:
            raise RuntimeError

        @app.consume(stream="orders", group="billing")
        def take(entry) -> None:
            seen.append(entry)

        app.log("c:1{d}%", partitions=2).append(b"one", key="k")
        app.log("c:1{d}%").group("readers", start="earliest").seek(to="earliest")
        with app.worker():
            until(lambda: seen and app.queue("a:{b}%").depth() == 0, "all is done")
            fail.enqueue()
            until(lambda: app.queue("a:{b}%").stats().dead, "it is dead")
            warned = found(url, "warn")

    assert "not known" not in warned
    assert "without their jobs" not in warned


def test_a_stream_that_only_grows_and_a_dead_consumer_are_found(redis_place, monkeypatch):
    monkeypatch.setattr(key_findings, "LONG", 3)
    monkeypatch.setattr(key_findings, "SILENT", 0.0)
    for number in range(4):
        redis_place.ask("XADD", "orders", "*", "number", number)
    redis_place.ask("XGROUP", "CREATE", "orders", "billing", 0)
    redis_place.ask("XREADGROUP", "GROUP", "billing", "one", "COUNT", 4, "STREAMS", "orders", ">")
    url = f"{redis_place.url}?prefix={redis_place.prefix}"
    dead = found(url, "warn")
    redis_place.ask("XACK", "orders", "billing", *(entry[0] for entry in redis_place.ask("XRANGE", "orders", "-", "+")))

    assert "consumer 'one' of group 'billing' of stream 'orders' has 4 entries" in dead
    assert "stream 'orders' holds 4 entries that all its groups have read" in found(url, "warn")


def test_holders_that_went_silent_are_found(redis_place):
    url = f"{redis_place.url}?prefix={redis_place.prefix}"
    store = open_store(parse_url(url))
    store.beat(HolderInfo(id="one#1", ttl=0.01))
    silent = until(lambda: "holders went silent: one#1" in found(url, "warn"), "it is silent")
    store.close()

    assert silent


def test_a_stream_that_is_read_is_told(redis_place):
    redis_place.ask("XADD", "orders", "*", "number", 1)

    assert "stream 'orders': 1 entries, 0 groups" in found(f"{redis_place.url}?prefix={redis_place.prefix}", "ok")


def test_waits_are_not_cut_by_a_timeout_of_the_server(redis_servers):
    server = redis_servers.single(**SOUND, timeout=1)

    with App(server.url, logger=None) as app:
        assert not app.backend.wait(["mail"], [""], 3.0)
