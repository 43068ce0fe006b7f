"""Settings parsed into values, and what does not parse refused by name."""

import pytest

from holdfast.config import QueueSettings, parse_url
from holdfast.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("done_for", float("inf")),
        ("dead_for", float("nan")),
        ("dedupe_window", -1),
        ("dead_most", 1e6),
        ("max_body", -1),
    ],
)
def test_a_setting_that_no_store_could_keep_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"queue setting {name} must be"):
        QueueSettings(**{name: value})


@pytest.mark.parametrize(
    ("text", "scheme", "host", "path"),
    [
        ("memory:", "memory", "", ""),
        ("sqlite:///jobs.db", "sqlite", "", "jobs.db"),
        ("sqlite:////var/lib/jobs.db", "sqlite", "", "/var/lib/jobs.db"),
        ("sqlite:jobs.db", "sqlite", "", "jobs.db"),
        ("SQLite:///a%20b.db?sync=normal", "sqlite", "", "a b.db"),
        ("redis://host:6379/0", "redis", "host:6379", "0"),
    ],
)
def test_a_url_is_taken_apart(text, scheme, host, path):
    url = parse_url(text)

    assert (url.scheme, url.host, url.path) == (scheme, host, path)


def test_a_password_is_masked_wherever_the_url_is_shown():
    assert parse_url("redis://user:secret@host/0").text == "redis://user:***@host/0"


@pytest.mark.parametrize("text", ["", "jobs.db", "/var/lib/jobs.db", "://x"])
def test_what_is_no_url_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"write for example sqlite:///jobs\.db, disk:data or memory:"):
        parse_url(text)


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown option 'synk' .did you mean 'sync'.*known: busy, driver, sync"):
        parse_url("sqlite:///jobs.db?synk=full").check_options({"busy", "driver", "sync"})
