"""The Redis store passes the whole conformance suite through Sentinels and on a Cluster too, each write on a replica.

On a Cluster the queues of one case are in different slots, mostly on different servers. `make test` runs Valkey alone
here, and no model: the code under test is the same on Debian's Redis, 1 700 cases take a minute of a core, and random
lives of a queue another two. `make long` runs those.
"""

import pytest

from holdfast.testing import conformance
from tests.disk.layers import cannot
from tests.redis.harness import RedisHarness
from tests.redis.programs import lacking
from tests.redis.test_queue import *  # noqa: F403 - the same classes, on another harness

pytestmark = pytest.mark.slow


@pytest.mark.long
@pytest.mark.timeout(1200)
class TestModel(conformance.ModelCases): ...


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.long)])
def redis_flavour(request, record_property):
    if lack := lacking(request.param):
        cannot(f"servers of {request.param}", lack, record_property)
    return request.param


@pytest.fixture(params=["sentinel", "cluster"])
def harness(request, redis_flavour, tmp_path):
    place = request.getfixturevalue(f"{request.param}_place")
    with RedisHarness(place, tmp_path, "&wait=1") as harness:
        yield harness
