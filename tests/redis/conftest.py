"""What most tests of a single server use, and those of logs."""

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.stores import open_logs
from tests.redis.harness import RedisHarness
from tests.redis.logs import LOG


@pytest.fixture
def harness(tmp_path, redis_place):
    with RedisHarness(redis_place, tmp_path) as harness:
        yield harness


@pytest.fixture
def opened(redis_place):
    """Open the logs of a store, as another program would; they are closed with the test."""
    handles = []

    def opened(url=f"{redis_place.url}?prefix={redis_place.prefix}"):
        handles.append(open_logs(parse_url(url)))
        return handles[-1]

    yield opened
    for handle in handles:
        handle.close()


@pytest.fixture
def logs(opened):
    """Return logs of which one is declared."""
    logs = opened()
    logs.declare(LOG, LogSettings())
    return logs
