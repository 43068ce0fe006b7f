"""What most tests of a single server use."""

import pytest

from tests.redis.harness import RedisHarness


@pytest.fixture
def harness(tmp_path, redis_place):
    with RedisHarness(redis_place, tmp_path) as harness:
        yield harness
