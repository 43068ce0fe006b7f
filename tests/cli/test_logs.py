"""``holdfast logs``: what it shows, appends, seeks, verifies and removes, on every store that has logs."""

import io
import json
import threading
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from holdfast.app import App
from holdfast.cli import log_messages, main
from holdfast.cli.log_messages import Tail, Where
from holdfast.events import Events


@pytest.fixture(params=["sqlite", "disk"])
def url(tmp_path, request):
    return {"sqlite": f"sqlite:///{tmp_path}/jobs.db", "disk": f"disk:{tmp_path}/data"}[request.param]


@pytest.fixture
def app(tmp_path, url):
    app = App(f"sqlite:///{tmp_path}/jobs.db", logs=url, events=Events(logger=None))
    yield app
    app.close()


@pytest.fixture
def orders(app):
    """A log of two partitions with ten messages, of which group billing has committed four."""
    log = app.log("orders", partitions=2, labels={"team": "sales"})
    log.append_many([b"%d" % number for number in range(6)], partition=0)
    log.append_many([b"%d" % number for number in range(6, 10)], partition=1)
    with log.group("billing").member() as member:
        batch = member.poll(limit=10, wait=10)
        member.commit({0: 4} if 0 in batch.next_offsets else {})
        member.commit({0: 4}, durable=True)
    return log


@pytest.fixture
def logs(holdfast, url, app):
    def run(*args):
        return holdfast("logs", *args, "--url", url)

    return run


# -- looking ------------------------------------------------------------------------------------------------------


def test_logs_are_listed_with_what_they_hold(logs, orders):
    heading, row = logs("list").out.splitlines()
    [document] = logs("list", "--json").document["logs"]

    assert heading.split() == ["LOG", "PARTITIONS", "MESSAGES", "SIZE", "OLDEST", "GROUPS", "LABELS"]
    assert row.split()[:3] == ["orders", "2", "10"]
    assert row.split()[-1] == "team=sales"
    assert (document["messages"], document["groups"]) == (10, 1)
    assert [(one["first"], one["next"]) for one in document["partitions"]] == [(0, 6), (0, 4)]
    assert document["settings"]["partitions"] == 2


def test_a_store_without_logs_says_so(logs, app):
    app.log("gone").append(b"x")
    app.log("gone").destroy()

    assert logs("list").out == "this store has no logs yet\n"


def test_a_log_that_is_not_there_is_an_error_that_names_the_nearest(logs, orders):
    assert (
        logs("tail", "order").complaint == "holdfast: there is no log 'order' (did you mean 'orders'?); known: orders"
    )


def test_tail_shows_the_last_messages(logs, orders):
    shown = logs("tail", "orders", "--limit", "3", "--partition", "0", "--json").document["messages"]

    assert [(one["partition"], one["offset"], one["body"]) for one in shown] == [(0, 3, "3"), (0, 4, "4"), (0, 5, "5")]


def test_tail_begins_at_an_offset_or_a_time(logs, orders):
    from_offset = logs("tail", "orders", "--partition", "1", "--offset", "2", "--json").document["messages"]
    since = logs("tail", "orders", "--time", "1h", "--json").document["messages"]

    assert [one["body"] for one in from_offset] == ["8", "9"]
    assert sorted(int(one["body"]) for one in since) == list(range(10))


def test_an_offset_needs_a_partition_where_there_are_several(logs, orders):
    assert "orders has 2 partitions: say which with --partition." in logs("tail", "orders", "--offset", "1").misuse
    assert "no partition 7" in logs("tail", "orders", "--partition", "7").complaint


def test_a_body_that_is_no_text_is_shown_as_base64(logs, app):
    app.log("raw").append(b"\xff\x00", key="k", headers={"a": "b"})

    [message] = logs("tail", "raw", "--json").document["messages"]

    assert (message["body"], message["body_base64"], message["key"]) == (None, "/wA=", "k")
    assert message["headers"] == {"a": "b"}


def test_who_follows_gets_what_is_appended_meanwhile(app, orders, monkeypatch):
    looked = threading.Semaphore(0)
    monkeypatch.setattr(log_messages, "time", SimpleNamespace(sleep=lambda _: looked.release()))
    tail = Tail(app.log_backend, "orders", Where(0, None, None), last=1)
    found = []

    def follow():
        for message in tail.follow():
            found.append(message.body)
            if message.body == b"last":
                return

    following = threading.Thread(target=follow)
    following.start()
    assert looked.acquire(timeout=10)
    orders.append_many([b"more", b"last"], partition=0)
    following.join(10)

    assert found == [b"5", b"more", b"last"]


def test_a_directory_that_is_not_there_is_not_made(holdfast, tmp_path):
    said = holdfast("logs", "list", "--url", f"disk:{tmp_path}/typo").complaint

    assert f"there is no directory {tmp_path}/typo" in said
    assert not (tmp_path / "typo").exists()


# -- appending ----------------------------------------------------------------------------------------------------


def test_texts_are_appended_by_key(logs, app, orders):
    app.close()  # the disk's logs have one writer
    assert logs("append", "orders", "a", "b", "--key", "42", "--header", "from=cli").out == (
        "2 messages appended to orders\n"
    )
    with app:
        found = [one for partition in (0, 1) for one in orders.read(partition, limit=100) if one.key == "42"]
    assert [(one.body, dict(one.headers)) for one in found] == [(b"a", {"from": "cli"}), (b"b", {"from": "cli"})]


def test_lines_of_standard_input_are_appended(url, app, orders):
    app.close()
    lines = b"".join(b"line %d\n" % number for number in range(2500))
    command = ["logs", "append", "orders", "--partition", "1", "--url", url, "--json"]
    answer = CliRunner().invoke(main, command, input=io.BytesIO(lines).read(), prog_name="holdfast")

    assert json.loads(answer.stdout) == {"log": "orders", "count": 2500}
    with app:
        assert orders.ends()[1].next == 2504


# -- groups -------------------------------------------------------------------------------------------------------


def test_groups_are_listed_with_how_far_they_are_behind(logs, orders):
    heading, row = logs("groups", "orders").out.splitlines()
    [group] = logs("groups", "orders", "--json").document["groups"]

    assert heading.startswith("GROUP")
    assert row.split()[:2] == ["billing", "6"]
    assert (group["name"], group["messages"]) == ("billing", 6)


def test_lag_is_shown_by_partition_and_can_fail_a_check(logs, orders):
    found = logs("lag", "orders", "billing", "--json").document["groups"]["billing"]

    assert [(one["partition"], one["next"], one["messages"]) for one in found["partitions"]] == [(0, 4, 2), (1, 0, 4)]
    assert (logs("lag", "orders", "--more-than", "6").code, logs("lag", "orders", "--more-than", "5").code) == (0, 1)


def test_a_group_can_be_sought_back_and_forth(logs, orders):
    assert logs("seek", "orders", "billing", "--to", "earliest").out == "billing goes on at 0: 0, 1: 0\n"
    assert (
        "this skips 10 messages that billing has not committed"
        in logs("seek", "orders", "billing", "--to", "latest").misuse
    )
    assert logs("seek", "orders", "billing", "--to", "latest", "--yes").out == "billing goes on at 0: 6, 1: 4\n"
    assert logs("seek", "orders", "billing", "--time", "1h").code == 0
    assert logs("seek", "orders", "billing", "--partition", "0", "--offset", "3", "--yes").code == 0
    assert orders.group("billing").offsets() == {0: 3, 1: 0}


def test_where_to_seek_must_be_said_once(logs, orders):
    assert "Give one of --to, --time and --offset." in logs("seek", "orders", "billing").misuse
    assert "Give one of" in logs("seek", "orders", "billing", "--to", "latest", "--offset", "1", "-p", "0").misuse


def test_a_group_can_be_forgotten(logs, orders):
    assert logs("forget", "orders", "billing", "--yes").out == "billing of orders is forgotten\n"
    assert "log 'orders' has no group 'billing'; nobody reads it yet" in (
        logs("forget", "orders", "billing", "--yes").complaint
    )
    assert logs("groups", "orders").out == "nobody reads orders\n"


# -- the whole log ------------------------------------------------------------------------------------------------


def test_a_destroyed_log_is_gone(logs, app, orders):
    app.close()
    assert "this destroys orders with 10 messages: nobody is there to ask" in logs("destroy", "orders").misuse
    assert logs("destroy", "orders", "--yes").out == "destroyed orders with 10 messages\n"
    assert logs("list").out == "this store has no logs yet\n"


# -- verifying ----------------------------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    """A log on disk of two appends in one partition; returns its URL and its one file."""
    url = f"disk:{tmp_path}/data"
    with App("memory:", logs=url, events=Events(logger=None)) as app:
        app.log("orders").append_many([b"one", b"two"])
        app.log("orders").append_many([b"three"])
    [segment] = (tmp_path / "data" / "logs" / "orders" / "0").glob("*.log")
    return url, segment


def damage(segment):
    """Turn a bit of the first append round."""
    data = bytearray(segment.read_bytes())
    data[data.index(b"onetwo")] ^= 1
    segment.write_bytes(data)


def test_an_intact_log_verifies(holdfast, stored):
    url, _ = stored

    answer = holdfast("logs", "verify", "--url", url)

    assert answer.code == 0
    assert answer.out.startswith("orders: 3 messages, ")
    assert ", intact\n" in answer.out
    assert "queues in this directory is read by holdfast doctor" in answer.out, "what was not looked at is said"


def test_damage_is_found_named_and_served_around(holdfast, stored):
    url, segment = stored
    damage(segment)

    answer = holdfast("logs", "verify", "orders", "--url", url, "--json")

    assert answer.code == 1
    [found] = answer.document["logs"]["orders"]["damages"]
    assert (found["first"], found["next"], found["path"]) == (0, 2, str(segment))
    assert "damaged" in holdfast("logs", "tail", "orders", "--url", url, "--partition", "0").complaint
    shown = holdfast("logs", "tail", "orders", "--url", url, "-p", "0", "--offset", "2", "--json").document["messages"]
    assert [one["body"] for one in shown] == ["three"]


def test_repair_gives_up_what_is_damaged_after_asking(holdfast, stored):
    url, segment = stored
    damage(segment)

    assert "this gives up 2 messages of orders, offsets 0 to 1 of partition 0" in (
        holdfast("logs", "repair", "orders", "--skip", "--url", url).misuse
    )
    answer = holdfast("logs", "repair", "orders", "--skip", "--yes", "--url", url, "--json").document

    assert (answer["messages"], len(answer["damages"]), len(answer["kept"])) == (2, 1, 1)
    assert holdfast("logs", "verify", "orders", "--url", url).code == 0
    shown = holdfast("logs", "tail", "orders", "--url", url, "-p", "0", "--offset", "0", "--json").document["messages"]
    assert [(one["offset"], one["body"]) for one in shown] == [(2, "three")]


def test_damage_that_held_no_message_is_said_to_have_none(holdfast, stored):
    url, segment = stored
    segment.write_bytes(bytes(16) + segment.read_bytes()[16:])  # its header

    [row] = [line for line in holdfast("logs", "verify", "--url", url).out.splitlines() if str(segment) in line]

    assert row.split()[:2] == ["0", "none"]
    assert "this gives up 0 messages of orders, none of its offsets" in (
        holdfast("logs", "repair", "orders", "--skip", "--url", url).misuse
    )


def test_what_is_not_damaged_is_not_repaired(holdfast, stored):
    url, segment = stored
    before = segment.read_bytes()

    assert holdfast("logs", "repair", "orders", "--skip", "--url", url).out == "nothing is damaged in orders\n"
    assert segment.read_bytes() == before


def test_repair_does_nothing_unless_told_to_skip(holdfast, stored):
    assert "Say --skip to give up what is damaged." in holdfast("logs", "repair", "orders", "--url", stored[0]).misuse


def test_other_stores_say_who_checks_them(holdfast, tmp_path):
    with App(f"sqlite:///{tmp_path}/jobs.db", events=Events(logger=None)) as app:
        app.log("orders").append(b"x")

    assert "holdfast doctor" in holdfast("logs", "verify", "--url", f"sqlite:///{tmp_path}/jobs.db").complaint
