"""What each released version wrote is read by this one, whole, and can be gone on with. A version that changes the
format brings a directory of its own; none is ever removed.
"""

import shutil
from pathlib import Path

import pytest

from holdfast.config import parse_url
from holdfast.delivery import HolderInfo
from holdfast.logged import Columns, Producer, Start
from holdfast.stores import open_logs
from tests.disk.fixture_log import DONE, FINISHED, GROUP, KINDS, PARTITIONS, ROUNDS, expected

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(folder.name for folder in FIXTURES.iterdir())
every = pytest.mark.parametrize(("version", "kind"), [(version, kind) for version in VERSIONS for kind in KINDS])


@pytest.fixture
def logs(tmp_path, version):
    shutil.copytree(FIXTURES / version, tmp_path / "data")
    logs = open_logs(parse_url(f"disk:{tmp_path}/data"))
    yield logs
    logs.close()


def held(logs, kind, partition):
    """Return all that is in a partition, with its offsets."""
    found, at = [], logs.ends(kind)[partition].first
    while chunks := logs.read(kind, partition, at, limit=1000, max_bytes=1 << 20):
        for chunk in chunks:
            nothing = [None] * len(chunk)
            found += zip(chunk.bodies, chunk.keys or nothing, chunk.headers or nothing, strict=True)
            at = chunk.next
    return found


@every
def test_a_log_of_an_earlier_version_is_read_whole(logs, kind):
    assert [held(logs, kind, partition) for partition in range(PARTITIONS)] == list(expected(kind).values())
    assert logs.logs()[kind].compression == kind
    assert logs.logs()[kind].labels == {"a": "b"}


@every
def test_a_group_of_an_earlier_version_goes_on_where_it_stood(logs, kind):
    member = logs.join(kind, GROUP, HolderInfo(id="reader#2", ttl=60.0, queues=(), kinds=()), start=Start())
    chunks = member.poll(limit=1000, wait=10.0)

    place = member.assigned()[0].place
    assert (place.next, place.finished) == (DONE, FINISHED)
    assert min(chunk.base for chunk in chunks if chunk.partition == 0) == DONE
    member.leave()


@every
def test_a_log_of_an_earlier_version_is_appended_to(logs, kind):
    before = logs.ends(kind)[1].next
    last = Columns([b"", f"{kind} {ROUNDS - 1} by a producer".encode()])

    again = logs.append(kind, 1, last, producer=Producer(77, 1, 2 * (ROUNDS - 1)))
    new = logs.append(kind, 1, Columns([b"new"]), producer=Producer(77, 1, 2 * ROUNDS))

    assert again.duplicate
    assert (new.duplicate, new.offset) == (False, before)
    assert held(logs, kind, 1)[-1] == (b"new", None, None)
