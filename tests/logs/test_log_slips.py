"""Every slip a newcomer can make with logs in a program says what to write instead."""

import errno
import os
import re
import sys

import pytest

from holdfast import App, BackendError, LogMessage, columns
from holdfast.errors import BodyTooLarge, ConfigError, LeaseLost, NotSupported, OffsetGone, QueueFull, UsageError
from holdfast.stores.disk.files import Files


@pytest.fixture
def orders(app):
    log = app.log("orders", partitions=2)
    log.append_many([b"1", b"2", b"3"], partition=0)
    return log


@pytest.mark.parametrize(
    "use",
    [
        lambda log: log.read(),
        lambda log: log.ends(),
        lambda log: log.group("billing").lag(),
        lambda log: log.group("billing").member(),
    ],
)
def test_a_mistyped_log_is_told_the_nearest(app, orders, use):
    with pytest.raises(UsageError, match=r"there is no log 'ordes' \(did you mean 'orders'\?\)"):
        use(app.log("ordes"))
    assert [log.name for log in app.logs()] == ["orders"]


def test_a_mistyped_group_is_told_the_nearest(orders):
    orders.group("billing").seek(to="earliest")

    with pytest.raises(UsageError, match=r"log 'orders' has no group 'biling' \(did you mean 'billing'\?\); a join"):
        orders.group("biling").lag()


@pytest.mark.parametrize("use", [lambda log: log.read(0, 9), lambda log: log.group("billing").seek(offsets={0: 9})])
def test_a_place_beyond_the_end_is_told_which_there_are(orders, use):
    with pytest.raises(OffsetGone, match="offset 9 is not there, those from 0 to 2 are, and 3 comes next"):
        use(orders)


def test_a_place_in_an_empty_partition_is_told_what_comes_next(orders):
    with pytest.raises(OffsetGone, match="partition 1: offset 9 is not there, 0 comes next"):
        orders.read(1, 9)


@pytest.mark.parametrize(
    "use",
    [
        lambda log: log.read(7),
        lambda log: log.append(b"", partition=7),
        lambda log: log.group("g").seek(partition=7, to="latest"),
    ],
)
def test_a_partition_that_is_not_there_is_told_how_many_there_are(orders, use):
    with pytest.raises(UsageError, match=r"log 'orders' has no partition 7; it has (2, from 0 on|0 to 1)"):
        use(orders)


def test_fewer_partitions_are_told_to_be_another_log(app, orders):
    with pytest.raises(UsageError, match="log 'orders' has 2 partitions, which cannot become 1; make another log"):
        app.log("orders", partitions=1).append(b"")


def test_a_body_that_is_too_large_is_told_the_limit_and_what_to_do(orders):
    with pytest.raises(BodyTooLarge, match=r"2000000 bytes is above 1048576; store it elsewhere .* or raise max_body"):
        orders.append(bytes(2_000_000))


@pytest.mark.parametrize("key", [42, b"42", ""])
def test_a_key_that_is_no_text_is_refused(orders, key):
    with pytest.raises(UsageError, match="log 'orders': key must be a text of 1 to 255 characters, not"):
        orders.append(b"", key=key)


def test_a_compression_whose_package_is_missing_is_told_what_to_install(memory, monkeypatch):
    monkeypatch.setattr(columns, "_coders", {})
    for module in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(NotSupported, match=r"compression zstd needs a package: pip install 'holdfast\[compression\]'"):
        memory.log("orders", compression="zstd").append(b"x" * 1000)


@pytest.mark.parametrize("given", [5, None, "a batch"])
def test_a_commit_of_what_is_no_place_is_told_what_is_one(orders, given):
    with orders.group("billing").member() as member:
        batch = member.poll(wait=1)
        with pytest.raises(UsageError, match=r"commit\(batch.next_offsets\), or an offset by partition, not"):
            member.commit(batch if given == "a batch" else given)


@pytest.mark.parametrize(
    ("where", "named"),
    [
        ({"offset": "3"}, "the offset must be a whole number 0 or more, not '3'"),
        ({"offset": 1.5}, "the offset must be a whole number 0 or more, not 1.5"),
        ({"offsets": {"0": 3}}, "a partition must be a whole number 0 or more, not '0'"),
        ({"offsets": {0: "3"}}, "the offset of partition 0 must be a whole number 0 or more, not '3'"),
        ({"offsets": [3]}, "seek(offsets={0: 3}), an offset by partition, not [3]"),
    ],
)
def test_a_place_to_seek_that_is_no_number_is_refused(memory, where, named):
    memory.log("orders").append(b"1")

    with pytest.raises(UsageError, match=re.escape(named)):
        memory.log("orders").group("billing").seek(**where)


@pytest.mark.parametrize("offsets", [{"0": "1"}, {"0": 1}, {0: "1"}])
def test_a_commit_of_what_is_no_number_is_refused(orders, offsets):
    with orders.group("billing").member() as member:
        member.poll(wait=1)
        with pytest.raises(UsageError, match=r"commit: .* must be a whole number 0 or more, not '"):
            member.commit(offsets)


def test_a_commit_after_a_seek_is_told_why_it_lost(orders):
    group = orders.group("billing")
    with group.member() as member:
        batch = member.poll(wait=1)
        group.seek(to="earliest")

        with pytest.raises(LeaseLost, match="were sought; what it polled there before is delivered again"):
            member.commit(batch.next_offsets)


@pytest.mark.parametrize("time", ["yesterday", 1_700_000_000])
def test_a_time_that_is_none_is_told_how_to_make_one(orders, time):
    with pytest.raises(UsageError, match=r"a datetime with a time zone, such as datetime.now\(UTC\), not"):
        orders.group("billing").seek(time=time)


def test_a_commit_beyond_what_retention_left_is_told_where_to_go_on(orders):
    with orders.group("billing").member() as member:
        member.poll(wait=1)
        with pytest.raises(OffsetGone, match="in a group, seek it there, or join it with when_gone='earliest'"):
            member.commit({0: 9})


def test_a_log_that_is_full_says_where_room_comes_from(app):
    log = app.log("full", keep_bytes=0, until_consumed=True, limit_bytes=2000)
    app.log("full").group("slow").member().close()
    log.append_many([bytes(900), bytes(900)])

    with pytest.raises(
        QueueFull, match="room comes from what keep_for, keep_bytes and keep_most let go or, with until_"
    ):
        log.append(bytes(900))


# -- consumers ----------------------------------------------------------------------------------------------------


class Order:
    pass


def nothing(): ...


def two(order: bytes, more: bytes): ...


def unknown(order: Order): ...


def unresolved(order: "Oder"): ...  # noqa: F821 # pyright: ignore


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (nothing, "a consumer takes one argument, the message, beside what a worker supplies; not nothing"),
        (two, "a consumer takes one argument, the message, beside what a worker supplies; not order, more"),
        (unknown, "parameter 'order': nothing says how to decode Order"),
        (unresolved, "its annotation 'Oder' cannot be resolved"),
    ],
)
def test_a_function_that_cannot_consume_is_told_why(memory, function, text):
    with pytest.raises(UsageError, match=text):
        memory.consume("orders", group="billing")(function)


def test_a_consumer_without_brackets_is_told_to_name_its_log(memory):
    def bill(order: LogMessage): ...

    with pytest.raises(UsageError, match=r'a consumer names its log, @app.consume\(log="orders"\), or its stream'):
        memory.consume(bill)


# -- stores -------------------------------------------------------------------------------------------------------


def test_a_scheme_that_is_none_is_told_the_nearest():
    app = App("memory:", logs="dsk:data")

    with pytest.raises(ConfigError, match=r"dsk:data: no store answers to 'dsk' \(did you mean 'disk'\?\); known:"):
        app.log("orders").append(b"")


def test_a_directory_opened_twice_in_a_process_is_told_so(tmp_path):
    first, second = App(f"disk:{tmp_path}", logger=None), App(f"disk:{tmp_path}", logger=None)
    with first, second:
        first.queue("mail").send(b"")
        first.log("orders").append(b"")

        with pytest.raises(
            BackendError, match=r"another App of this process owns the queues in .*: send and work there"
        ):
            second.queue("mail").send(b"")
        with pytest.raises(
            BackendError, match=r"log 'orders' is written by another App of this process, since .*: append"
        ):
            second.log("orders").append(b"")
        assert second.log("orders").depth() == 1


def test_a_file_in_place_of_a_directory_is_said_to_be_one(tmp_path):
    (tmp_path / "jobs.db").touch()

    with pytest.raises(ConfigError, match=r"jobs\.db is a file; name a directory, which is made if need be"):
        App(f"disk:{tmp_path}/jobs.db").log("orders").append(b"")


@pytest.mark.parametrize("use", [lambda app: app.log("orders").append(b""), lambda app: app.queue("mail").send(b"")])
def test_a_directory_that_may_not_be_written_is_named_with_the_way_out(tmp_path, monkeypatch, use):
    def refuse(self, path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Files, "make_directory", refuse)  # root, who may run this, is refused nothing

    with pytest.raises(BackendError, match=r"Permission denied: .*data'; let this user write there, or name another"):
        use(App(f"disk:{tmp_path}/data", logger=None))
