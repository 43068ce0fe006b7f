"""URLs of Redis and Valkey: what they say, and what of them is refused before any I/O."""

import pytest

from holdfast.config import parse_url
from holdfast.errors import ConfigError
from holdfast.message import Level
from holdfast.stores.redis.options import Address, Options, Tls


def options(text):
    return Options.of(parse_url(text))


@pytest.mark.parametrize(
    ("url", "topology", "addresses"),
    [
        ("redis://", "single", [Address("localhost", 6379)]),
        ("valkey://cache:7000", "single", [Address("cache", 7000)]),
        ("redis://[::1]:7000/2", "single", [Address("::1", 7000)]),
        ("redis://[::1]", "single", [Address("::1", 6379)]),
        ("redis+unix:///run/redis.sock?db=3", "single", [Address("", 0, "/run/redis.sock")]),
        ("valkey+sentinel://a,b:1/main", "sentinel", [Address("a", 26379), Address("b", 1)]),
        ("rediss+cluster://a:1,b", "cluster", [Address("a", 1), Address("b", 6379)]),
    ],
)
def test_a_url_names_the_servers(url, topology, addresses):
    found = options(url)

    assert (found.topology, list(found.addresses)) == (topology, addresses)


def test_a_url_says_who_asks_and_of_which_database():
    found = options("redis+sentinel://app:p%40ss@a/main/4?sentinel_user=watcher&sentinel_password=word")

    assert (found.user, found.password, found.service, found.db) == ("app", "p@ss", "main", 4)
    assert (found.sentinel_user, found.sentinel_password) == ("watcher", "word")
    assert "p%40ss" not in found.text
    assert options("redis://:only@host").password == "only"
    assert options("redis+unix:///run/redis.sock?db=3").db == 3


def test_a_url_says_how_servers_prove_themselves():
    found = options("rediss://host?ca=/etc/ca.pem&cert=c&key=k&verify=0")

    assert found.tls == Tls("/etc/ca.pem", "c", "k", verify=False)
    assert options("redis://host").tls is None


@pytest.mark.parametrize(
    ("query", "level"),
    [
        ("", Level.MEMORY),
        ("?fsync=1", Level.SYNCED),
        ("?wait=1", Level.REPLICATED),
        ("?wait=2&fsync=1", Level.REPLICATED),
    ],
)
def test_a_url_says_how_safe_a_write_is(query, level):
    assert options(f"redis://host{query}").level is level


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://host?wiat=1", "unknown option 'wiat'.*wait"),
        ("redis://host?wait=-1", "wait must be a number, 0 or more"),
        ("redis://host?fsync=yes", "fsync must be 0 or 1"),
        ("redis://host?timeout=nan", "timeout must be a number"),
        ("redis://a,b", r"redis\+sentinel:// or redis\+cluster://"),
        ("redis://host:port", "no host:port"),
        ("redis://host/name", "the database is a number"),
        ("redis+cluster://a/1", "a cluster has database 0 only"),
        ("redis+sentinel://a,b", "name the master"),
        ("redis+unix://", "name the socket"),
        ("redis+nix://host", "there are redis, rediss"),
        ("redis://host?prefix={a}", "a prefix has no braces"),
        ("redis://host?timeout=inf", "timeout must be a number, 0.1 or more, 86400 at the most"),
        ("redis://host?connect_timeout=1e12", "connect_timeout must be a number"),
        ("redis://host:99999", "ports are numbers from 1 to 65535"),
        ("redis://host:0", "ports are numbers from 1 to 65535"),
        ("redis://a..b", "'a..b' is no host:port"),
        ("redis://host?name=my%20app", "a name of ASCII letters without spaces"),
    ],
)
def test_what_does_not_parse_is_told(url, says):
    with pytest.raises(ConfigError, match=says):
        options(url)


@pytest.mark.parametrize("url", ["redis://:se/cret@host/0", "redis://:se?cret@host/0", "redis://app:se/cret@a:1"])
def test_a_password_that_is_not_escaped_is_told_and_not_shown(url):
    with pytest.raises(ConfigError, match="in a password write / as %2F") as caught:
        options(url)

    assert ":se" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_passwords_are_in_no_repr():
    url = parse_url("redis+sentinel://app:secret@a/main?sentinel_password=word")

    assert "secret" not in f"{url!r} {Options.of(url)!r}"
    assert "=word" not in f"{url!r} {Options.of(url)!r}"
    assert "***@a/main" in repr(Options.of(url))
