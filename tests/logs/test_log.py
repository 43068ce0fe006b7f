"""app.log(...): appending, reading and looking after a log, on each store that holds logs."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast import App, Message, OffsetGone, UsageError
from holdfast.config import LogSettings
from holdfast.errors import BodyTooLarge, ConfigError
from holdfast.partitions import partition_of


def test_what_is_appended_is_read_in_order(app):
    log = app.log("orders")

    places = [log.append(body) for body in (b"one", b"two")]

    assert [(place.log, place.partition, place.offset) for place in places] == [("orders", 0, 0), ("orders", 0, 1)]
    assert log.read().bodies == [b"one", b"two"]


def test_keys_and_headers_come_back(app):
    app.log("orders").append(b"body", key="user-é", headers={"trace": "1"})

    (message,) = app.log("orders").read()
    assert (message.body, message.key, message.headers) == (b"body", "user-é", {"trace": "1"})


def test_messages_of_one_key_share_a_partition_and_the_others_take_turns(app):
    log = app.log("orders", partitions=4)

    keyed = {log.append(b"", key="42").partition for _ in range(8)}
    spread = {log.append(b"").partition for _ in range(8)}

    assert keyed == {partition_of(b"42", 4)}
    assert spread == {0, 1, 2, 3}


def test_a_partition_that_was_chosen_wins(app):
    log = app.log("orders", partitions=4)
    assert [log.append(b"", key="42", partition=number).partition for number in range(4)] == [0, 1, 2, 3]


def test_many_messages_get_their_receipts_in_order(app):
    log = app.log("orders", partitions=3)
    keys = [None, "a", "b", "c", "d", None, "a"]

    stored = log.append_many([(b"%d" % number, key) for number, key in enumerate(keys)])

    found = [log.read(place.partition, place.offset, limit=1)[0] for place in stored]
    assert [(message.body, message.key) for message in found] == [(b"%d" % n, key) for n, key in enumerate(keys)]
    assert stored[0].partition == stored[5].partition  # those without a key go together


def test_many_bodies_lie_side_by_side(app):
    log = app.log("orders", partitions=3)
    stored = log.append_many([b"a", b"b", b"c"])
    assert [place.offset for place in stored] == [0, 1, 2]
    assert len({place.partition for place in stored}) == 1
    assert log.append_many([]) == []


def test_messages_of_queues_and_logs_can_be_appended(memory):
    source, copy = memory.log("source"), memory.log("copy")
    source.append_many([Message(body=b"a", key="k", headers={"h": "1"}), b"b", (b"c", "x")])

    copy.append_many(source.read())

    assert [(one.body, one.key, dict(one.headers)) for one in copy.read()] == [
        (b"a", "k", {"h": "1"}),
        (b"b", None, {}),
        (b"c", "x", {}),
    ]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("text", "append bytes"),
        (("text", "key"), "a body is bytes"),
        ((b"body", 42), "key must be a text"),
        (Message(body=b"", priority=3), "no priority"),
        (Message(body=b"", kind="mail"), "no kind"),
        (Message(body=b"", headers={"a": 1}), "headers"),
    ],
)
def test_what_cannot_be_appended_is_named(memory, given, named):
    log = memory.log("orders", partitions=1)
    with pytest.raises(UsageError, match=named) as caught:
        log.append_many([b"good", given])
    assert "orders" in str(caught.value)
    assert log.settings() is not None
    assert log.depth() == 0


def test_a_body_above_the_limit_is_refused(app):
    log = app.log("orders", max_body=10)
    with pytest.raises(BodyTooLarge):
        log.append(b"x" * 11)
    assert log.depth() == 0


# -- reading -----------------------------------------------------------------------------------------------------


def test_reading_goes_on_where_a_batch_ends(app):
    log = app.log("orders")
    log.append_many([b"%d" % number for number in range(5)])

    first = log.read(limit=3)
    rest = log.read(offset=first.next_offsets[0])

    assert (len(first), len(rest)) == (3, 2)
    assert not log.read(offset=5)


def test_an_offset_beyond_the_end_is_an_error(app):
    log = app.log("orders")
    log.append(b"")
    with pytest.raises(OffsetGone) as caught:
        log.read(offset=2)
    assert (caught.value.first, caught.value.next) == (0, 1)


def test_a_batch_is_a_sequence(memory):
    log = memory.log("orders")
    log.append_many([b"a", b"b"])
    log.append_many([b"c", b"d"])

    batch = log.read()

    assert [message.offset for message in batch] == [0, 1, 2, 3]
    assert (batch[0].body, batch[-1].body, batch[2].offset) == (b"a", b"d", 2)
    assert batch[1:3].bodies == [b"b", b"c"]
    assert dict(batch[1:3].next_offsets) == {0: 3}
    assert batch[3:9].bodies == [b"d"]
    assert not batch[2:2]
    with pytest.raises(IndexError):
        batch[4]
    with pytest.raises(UsageError):
        batch[::2]


def test_the_log_is_searched_by_time(app):
    log = app.log("orders", partitions=2)
    log.append_many([b"a", b"b"], partition=0)
    first = log.read()[0]

    assert log.find(datetime.fromtimestamp(first.time / 1000, UTC)) == {0: 0, 1: 0}
    assert log.find(datetime.now(UTC) + timedelta(hours=1)) == {0: 2, 1: 0}
    with pytest.raises(UsageError, match="time zone"):
        log.find(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused


def test_ends_and_depth_tell_what_is_held(app):
    log = app.log("orders", partitions=2)
    log.append_many([b"a", b"b"], partition=1)
    assert [(ends.first, ends.next) for ends in log.ends()] == [(0, 0), (0, 2)]
    assert log.depth() == 2
    assert log.flush() >= log.append(b"").level


# -- declaring ---------------------------------------------------------------------------------------------------


def test_naming_a_log_makes_none(memory):
    memory.log("orders", partitions=4)
    assert memory.logs() == []


def test_settings_are_written_at_the_first_use(app):
    assert app.log("orders", partitions=4, keep_for=timedelta(days=1)).depth() == 0
    assert app.log("orders").settings() == LogSettings(partitions=4, keep_for=86_400.0)


def test_settings_that_are_not_given_stay(app):
    app.log("orders", partitions=4, keep_for=10.0).append(b"")
    app.log("orders", labels={"team": "shop"}).append(b"")
    assert app.log("orders").settings() == LogSettings(partitions=4, keep_for=10.0, labels={"team": "shop"})


def test_more_partitions_are_used_at_once(app):
    app.log("orders", partitions=1).append(b"")
    log = app.log("orders", partitions=4)
    assert {log.append(b"").partition for _ in range(4)} == {0, 1, 2, 3}


def test_fewer_partitions_are_refused(app):
    app.log("orders", partitions=4).append(b"")
    with pytest.raises(UsageError):
        app.log("orders", partitions=2).append(b"")


def test_appending_makes_a_log(app):
    app.log("orders").append(b"")
    assert app.log("orders").settings() == LogSettings()


def test_a_log_that_is_not_there_is_named_with_those_that_are(app):
    app.log("orders").append(b"")
    for ask in (app.log("ordres").read, app.log("ordres").ends, app.log("ordres").group("g").member):
        with pytest.raises(UsageError, match=r"ordres.*orders"):
            ask()
    assert app.log("ordres").settings() is None


def test_a_strict_app_makes_no_log_that_was_told_nothing():
    with App("memory:", strict_queues=True) as app:
        app.log("orders", partitions=2).append(b"")
        with pytest.raises(UsageError, match=r"ordres.*did you mean 'orders'"):
            app.log("ordres").append(b"")
        app.log("orders").append(b"")


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"partitons": 2}, "partitions"), ({"partitions": 0}, "partitions"), ({"keep_for": "week"}, "keep_for")],
)
def test_a_wrong_setting_is_named_before_anything_is_opened(settings, named):
    with pytest.raises(UsageError, match=named):
        App("memory:").log("orders", **settings)


@pytest.mark.parametrize("name", ["", "x" * 256, 7])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(UsageError, match="name of a log"):
        App("memory:").log(name)


def test_declaring_sets_everything(app):
    log = app.log("orders", partitions=2, keep_for=5.0)
    log.declare(LogSettings(partitions=3))
    assert log.settings().partitions == 3
    with pytest.raises(UsageError, match="LogSettings"):
        log.declare({"partitions": 3})


def test_a_destroyed_log_begins_anew(app):
    log = app.log("orders", partitions=2)
    log.append_many([b"a", b"b"])
    assert log.destroy() == 2
    assert log.destroy() == 0
    assert log.append(b"c").offset == 0
    assert log.settings().partitions == 2


def test_a_log_that_somebody_else_removed_is_made_again(app):
    log = app.log("orders")
    log.append(b"a")
    app.log_backend.destroy("orders")
    assert log.append(b"b").offset == 0


# -- the App -----------------------------------------------------------------------------------------------------


def test_making_an_app_with_a_log_touches_nothing(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db", logs=f"sqlite:///{tmp_path}/logs.db")
    app.log("orders", partitions=3).group("g")
    assert list(tmp_path.iterdir()) == []


def test_logs_may_live_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_LOGS_URL", "memory:")
    with App(f"sqlite:///{tmp_path}/jobs.db") as app:
        app.queue("mail").send(b"")
        app.log("orders").append(b"")
        assert app.log_backend is not app.backend
        assert not app.log_backend.features.durable


def test_a_wrong_url_for_logs_is_named_at_once():
    with pytest.raises(ConfigError, match="store URL"):
        App("memory:", logs="nonsense")


def test_a_closed_app_refuses_and_opens_again(memory):
    memory.log("orders").append(b"")
    memory.close()
    with pytest.raises(Exception, match="closed"):
        memory.log("orders").append(b"")
    with memory:
        memory.log("orders").append(b"")


def test_using_logs_alone_opens_no_queues(tmp_path):
    with App("memory:") as never:
        never.close()
    app = App(f"sqlite:///{tmp_path}/jobs.db", logs="memory:")
    app.log("orders").append(b"")
    assert not (tmp_path / "jobs.db").exists()
    app.close()


def test_names_and_labels_choose_logs(memory):
    for name, labels in (("orders.eu", {"team": "shop"}), ("orders.us", {"team": "shop", "old": "1"}), ("audit", {})):
        memory.log(name, labels=labels).append(b"")

    assert [log.name for log in memory.logs()] == ["audit", "orders.eu", "orders.us"]
    assert [log.name for log in memory.logs("orders.*")] == ["orders.eu", "orders.us"]
    assert [log.name for log in memory.logs(labels={"team": "shop", "old": 1})] == ["orders.us"]


def test_queues_and_logs_are_selected_together_each_once(memory):
    memory.queue("mail").send(b"")
    memory.log("orders", labels={"team": "shop", "eu": "1"}).append(b"")
    memory.log("old", labels={"team": "shop"}).append(b"")

    def chosen(**what):
        return [place.name for place in memory.select(**what)]

    assert chosen() == ["mail", "old", "orders"]
    assert chosen(labels={"team": "shop", "eu": 1}) == ["orders"]
    assert chosen(ids=["mail", "orders"], names="o*") == ["mail", "old", "orders"]
    assert chosen(ids="mail") == ["mail"]
    assert chosen(names=["m*", "mail"]) == ["mail"]
    assert sum(place.destroy() for place in memory.select()) == 3
