"""The logs pass the conformance suite through Sentinels, and on a Cluster whose servers share the partitions."""

import pytest

from tests.redis import test_logs
from tests.redis.log_harness import RedisLogHarness

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sentinels", "cluster"])
def harness(tmp_path, redis_shared, redis_flavour, request):
    places = redis_shared.place(redis_flavour, request.param)
    with RedisLogHarness(next(places), tmp_path) as harness:
        yield harness
    next(places, None)


vars().update({name: cases for name, cases in vars(test_logs).items() if name.startswith("Test")})
