"""Every slip a newcomer can make with logs on a command line says what to write instead."""

import pytest

from holdfast.app import App
from holdfast.events import Events

CONSUMER = "@app.consume('orders', group='billing')\ndef bill(order: bytes): ...\n"


@pytest.fixture
def data(tmp_path):
    """The URL of a directory with a log called orders, of two partitions, which group billing reads."""
    url = f"disk:{tmp_path}/data"
    with App(url, events=Events(logger=None)) as app:
        log = app.log("orders", partitions=2)
        log.append_many([b"1", b"2", b"3"], partition=0)
        log.group("billing").seek(to="earliest")
    return url


def app_of(project, arguments, more=""):
    return project("shop.py", f"from holdfast import App\napp = App({arguments})\n{more}")


# -- which store --------------------------------------------------------------------------------------------------


def test_logs_inside_one_process_are_refused_from_outside(holdfast):
    said = holdfast("logs", "tail", "orders", "--url", "memory:").complaint

    assert "this store lives inside one process, so a command finds nothing in it" in said


def test_a_directory_that_is_not_there_is_told_when_it_is_made(holdfast, tmp_path, data):
    said = holdfast("logs", "list", "--url", f"disk:{tmp_path}/dat").complaint

    assert f"there is no directory {tmp_path}/dat (did you mean 'data'?)" in said
    assert "it is made when a program first appends or sends" in said


def test_a_file_in_place_of_a_directory_is_said_to_be_one(holdfast, tmp_path):
    (tmp_path / "jobs.db").touch()

    said = holdfast("logs", "list", "--url", f"disk:{tmp_path}/jobs.db").complaint

    assert f"{tmp_path}/jobs.db is a file; name a directory" in said


def test_a_path_in_place_of_a_url_is_told_how_a_directory_is_written(holdfast):
    assert "'data' is not a store URL; write for example sqlite:///jobs.db, disk:data or memory:" in (
        holdfast("logs", "list", "--url", "data").complaint
    )


def test_two_slashes_before_a_directory_are_too_many(holdfast):
    assert "write disk:directory or disk:/absolute/directory" in holdfast("logs", "list", "--url", "disk://x").complaint


def test_an_app_whose_logs_live_elsewhere_is_asked_for_those(holdfast, project, data, tmp_path):
    app_of(project, f"'sqlite:///queues.db', logs='{data}'")

    assert holdfast("logs", "list", "--app", "shop:app").out.splitlines()[1].startswith("orders")
    assert not (tmp_path / "queues.db").exists()


def test_the_missing_logs_of_an_app_are_not_made(holdfast, project, tmp_path):
    app_of(project, f"'sqlite:///queues.db', logs='disk:{tmp_path}/typo'")

    assert f"there is no directory {tmp_path}/typo" in holdfast("logs", "list", "--app", "shop:app").complaint
    assert not (tmp_path / "typo").exists()


def test_a_worker_whose_logs_url_is_wrong_ends_at_once_and_says_so(holdfast, project):
    app_of(project, "'sqlite:///jobs.db', logs='dsk:data'", CONSUMER)

    said = holdfast("worker", "shop:app", "--drain").err.splitlines()[-1]

    assert said.startswith(
        "holdfast: dsk:data: no store answers to 'dsk' (did you mean 'disk'?); known: disk, memory, "
    )


def test_a_worker_whose_store_has_no_streams_ends_at_once_and_says_so(holdfast, project):
    app_of(project, "'sqlite:///jobs.db'", CONSUMER.replace("'orders'", "stream='orders', field='order'"))

    said = holdfast("worker", "shop:app", "--drain").complaint

    assert "reads stream 'orders', and SqliteBackend has no streams: open the App on redis://" in said


def test_a_worker_says_where_its_logs_are(holdfast, project, data):
    app_of(project, f"'sqlite:///jobs.db', logs='{data}'", CONSUMER)

    assert f"logs         {data}\n" in holdfast("worker", "shop:app", "--drain").out


# -- which log, which group, which place --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "tail ordes",
        "append ordes x",
        "groups ordes",
        "lag ordes",
        "seek ordes billing --to earliest",
        "forget ordes billing --yes",
        "verify ordes",
        "repair ordes --skip",
        "destroy ordes --yes",
    ],
)
def test_a_mistyped_log_is_told_the_nearest_and_nothing_is_made(holdfast, data, command):
    said = holdfast("logs", *command.split(), "--url", data).complaint

    assert "there is no log 'ordes' (did you mean 'orders'?); known: orders" in said
    assert list(holdfast("logs", "verify", "--url", data, "--json").document["logs"]) == ["orders"]


@pytest.mark.parametrize("command", ["lag orders biling", "forget orders biling --yes"])
def test_a_mistyped_group_is_told_the_nearest(holdfast, data, command):
    said = holdfast("logs", *command.split(), "--url", data).complaint

    assert "log 'orders' has no group 'biling' (did you mean 'billing'?); known: billing" in said


def test_a_mistyped_group_is_not_sought_without_asking(holdfast, data):
    said = holdfast("logs", "seek", "orders", "biling", "--to", "earliest", "--url", data).misuse

    assert "orders has no group 'biling' (did you mean 'billing'?); this makes it" in said
    [group] = holdfast("logs", "groups", "orders", "--url", data, "--json").document["groups"]
    assert group["name"] == "billing"


def test_a_partition_that_is_not_there_is_told_how_many_there_are(holdfast, data):
    said = holdfast("logs", "tail", "orders", "--partition", "7", "--url", data).complaint

    assert "log 'orders' has no partition 7; it has 2, from 0 on" in said


@pytest.mark.parametrize("command", ["tail orders", "seek orders billing --yes"])
def test_an_offset_beyond_the_end_is_told_which_there_are(holdfast, data, command):
    said = holdfast("logs", *command.split(), "--partition", "0", "--offset", "9", "--url", data)

    assert "offset 9 is not there, those from 0 to 2 are, and 3 comes next" in said.complaint


def test_a_place_that_is_not_said_is_asked_for(holdfast, data):
    assert (
        "Give one of --to, --time and --offset." in holdfast("logs", "seek", "orders", "billing", "--url", data).misuse
    )


def test_a_time_that_is_none_is_told_how_to_write_one(holdfast, data):
    said = holdfast("logs", "tail", "orders", "--time", "yesterday", "--url", data).misuse

    assert "'yesterday' is no time; write 30m, 2h or 7d for so long ago" in said


def test_appending_beside_a_program_that_writes_is_told_who_that_is(holdfast, data):
    with App(data, events=Events(logger=None)) as app:
        app.log("orders").append(b"4")

        said = holdfast("logs", "append", "orders", "x", "--url", data).complaint

    assert "log 'orders' is written by another App of this process, since " in said
    assert "append there, or close it; whatever reads may run anywhere on this host" in said


# -- examining ----------------------------------------------------------------------------------------------------


def test_a_data_directory_is_examined_by_its_url_and_no_queues_are_made(holdfast, data, tmp_path):
    with App(f"sqlite:///{tmp_path}/jobs.db", logs=f"disk:{tmp_path}/alone", events=Events(logger=None)) as app:
        app.log("clicks").append(b"1")

    assert "ok  log 'clicks': 1 message in" in holdfast("doctor", f"disk:{tmp_path}/alone").out
    assert not (tmp_path / "alone/queues").exists()


def test_a_relative_directory_is_not_taken_for_a_module(holdfast, data, project):
    project("other.py", "")

    assert "log 'orders': 3 messages" in holdfast("doctor", "disk:data").out


def test_logs_that_live_elsewhere_are_examined_with_their_app(holdfast, project, data):
    app_of(project, f"'sqlite:///jobs.db', logs='{data}'")
    with App("sqlite:///jobs.db", logger=None) as app:
        app.queue("mail").send(b"")

    examined = holdfast("doctor", "shop:app").out

    assert "its pages are sound" in examined
    assert "group 'billing' of log 'orders': 3 messages behind" in examined


def test_logs_that_the_environment_names_are_examined_too(holdfast, data, monkeypatch, tmp_path):
    with App(url := f"sqlite:///{tmp_path}/jobs.db", logger=None) as app:
        app.queue("mail").send(b"")
    monkeypatch.setenv("HOLDFAST_URL", url)
    monkeypatch.setenv("HOLDFAST_LOGS_URL", data)

    assert "log 'orders': 3 messages" in holdfast("doctor").out
    assert "log 'orders'" not in holdfast("doctor", url).out


# -- what is damaged ----------------------------------------------------------------------------------------------


def test_a_repair_that_does_not_say_how_is_told_the_choice(holdfast, data):
    said = holdfast("logs", "repair", "orders", "--url", data).misuse

    assert "Say --skip to give up what is damaged. If there is a copy of the file, restore that instead" in said


def test_reading_what_is_damaged_is_told_the_range_and_both_ways_out(holdfast, data, tmp_path):
    [segment] = (tmp_path / "data/logs/orders/0").glob("*.log")
    damaged = bytearray(segment.read_bytes())
    damaged[64 + 64] ^= 1
    segment.write_bytes(damaged)

    said = holdfast("logs", "tail", "orders", "--partition", "0", "--url", data).complaint

    assert f"{segment}: bytes 64 to" in said
    assert "seek behind them, or restore the file; 'holdfast logs repair --skip' takes them out for good" in said
