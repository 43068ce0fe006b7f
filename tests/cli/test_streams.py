"""``holdfast streams``: how far the groups are that read streams which others fill."""

import pytest

from tests.redis.streams import Stream


@pytest.fixture
def orders(redis_place):
    """A stream of five entries: ``theirs`` has two of them in group billing, and nobody has the others."""
    orders = Stream(redis_place)
    orders.place.ask("XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM")
    for number in range(5):
        orders.add(f"{number + 1}-0", n=str(number))
    orders.place.ask("XREADGROUP", "GROUP", "billing", "theirs", "COUNT", "2", "STREAMS", "orders", ">")
    return orders


@pytest.fixture
def streams(holdfast, orders):
    def run(*args):
        return holdfast("streams", *args, "--url", orders.url)

    return run


@pytest.fixture
def unknown(orders):
    """An entry ahead of the group was deleted: now no server knows how many there are."""
    orders.place.ask("XDEL", "orders", "4-0")


def test_the_lag_of_a_stream_has_what_nobody_was_given_and_what_each_consumer_has(streams):
    heading, *rows = streams("lag", "orders").out.splitlines()
    document = streams("lag", "orders", "billing", "--json").document["groups"]["billing"]

    assert heading.split() == ["GROUP", "CONSUMER", "FROM", "ENTRIES", "OLDEST"]
    assert [row.split()[:-2] for row in rows] == [
        ["billing", "nobody", "yet", "2-1", "3"],
        ["billing", "theirs", "1-0", "2"],
    ]
    assert document["entries"] == 5
    assert [(one["consumer"], one["from"], one["entries"]) for one in document["consumers"]] == [
        (None, "2-1", 3),
        ("theirs", "1-0", 2),
    ]


@pytest.mark.usefixtures("unknown")
def test_a_lag_that_the_server_does_not_know_is_called_unknown(streams):
    asked = streams("lag", "orders", "--more-than", "100")

    assert (asked.code, asked.out.splitlines()[1].split()[4]) == (1, "unknown")
    assert streams("lag", "orders", "--json").document["groups"]["billing"]["entries"] is None
    assert streams("groups", "orders").out.splitlines()[1].split()[:2] == ["billing", "unknown"]


def test_the_groups_of_a_stream_are_listed_with_who_reads(streams):
    heading, row = streams("groups", "orders").out.splitlines()
    [document] = streams("groups", "orders", "--json").document["groups"]

    assert heading.split() == ["GROUP", "BEHIND", "OLDEST", "MEMBERS", "IDLE"]
    assert row.split()[:2] == ["billing", "5"]
    assert (document["group"], document["members"], document["entries"]) == ("billing", ["theirs"], 5)


@pytest.mark.parametrize(("most", "code"), [("4", 1), ("5", 0)])
def test_a_script_may_ask_whether_a_group_is_behind(streams, most, code):
    assert streams("lag", "orders", "billing", "--more-than", most).code == code


def test_a_group_that_is_not_there_is_an_error_that_names_the_nearest(streams):
    assert "'biling' (did you mean 'billing'?)" in streams("lag", "orders", "biling").complaint


def test_a_stream_that_nobody_reads_says_so(streams):
    assert streams("groups", "returns").out == "nobody reads returns\n"


def test_the_streams_that_an_app_consumes_are_listed(holdfast, orders, redis_flavour, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = f"shop_on_{redis_flavour}"
    (tmp_path / f"{module}.py").write_text(
        f"""
from holdfast import App

app = App({orders.url!r}, logger=None)


@app.consume(stream="orders", group="billing")
def bill(entry: dict[str, str]) -> None: ...
"""
    )
    heading, row = holdfast("streams", "list", "--app", f"{module}:app").out.splitlines()

    assert heading.split() == ["STREAM", "GROUP", "BEHIND", "OLDEST"]
    assert row.split()[:3] == ["orders", "billing", "5"]


def test_which_app_is_meant_must_be_said(streams):
    assert streams("list").complaint == "holdfast: whose consumers? Give --app package.module:app"


def test_a_store_without_streams_says_which_have_some(holdfast, tmp_path):
    (tmp_path / "jobs.db").touch()

    assert "redis://" in holdfast("streams", "groups", "orders", "--url", f"sqlite:///{tmp_path}/jobs.db").complaint
