"""The queues that each released version wrote are opened by this one, whole, and gone on with."""

import shutil
from pathlib import Path

import pytest

from holdfast.config import parse_url
from holdfast.delivery import HolderInfo, State
from holdfast.message import Message
from holdfast.stores import open_store
from tests.disk.fixture_queue import ERROR, HOLDER, QUEUE, SETTINGS

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.parent.name for path in FIXTURES.glob("*/queues"))


@pytest.fixture(params=VERSIONS)
def store(tmp_path, request):
    shutil.copytree(FIXTURES / request.param, tmp_path / "data")
    store = open_store(parse_url(f"disk:{tmp_path}/data"))
    yield store
    store.close()


@pytest.mark.parametrize("half", ["a", "b"])
def test_queues_of_an_earlier_version_are_what_they_were(store, half):
    jobs = {state: store.get(QUEUE, f"{state}-{half}") for state in ("done", "dead", "retried", "running", "ready")}

    assert {name: job.state.value for name, job in jobs.items()} == {
        **{name: name for name in jobs},
        "retried": "scheduled",
    }
    assert all(job.body == f"{name} {half}".encode() * 40 for name, job in jobs.items())
    assert all(job.headers == {"half": half} for job in jobs.values())
    assert [jobs[name].runs[0].error for name in ("dead", "retried")] == [ERROR, ERROR]
    assert store.outcomes(QUEUE, [f"done-{half}"])[f"done-{half}"].value == b"the result"
    assert store.get(QUEUE, f"first-{half}").body == b"second"
    assert store.queues() == {QUEUE: SETTINGS}


def test_queues_of_an_earlier_version_are_gone_on_with(store):
    assert store.send(QUEUE, [Message(id="done-a", body=b"")])[0].duplicate
    before = store.get(QUEUE, "running-b").token
    assert store.retire(HOLDER, "gone") == 2
    store.beat(HolderInfo(id="worker#2", ttl=60.0, queues=(QUEUE,), kinds=("a", "b")))

    leased = store.lease(QUEUE, "worker#2", "lease", limit=10, kinds=("a", "b"), max_format=1)

    assert {one.id for one in leased} == {"running-a", "running-b", "ready-a", "ready-b"}
    assert next(one.token for one in leased if one.id == "running-b") == before + 1
    assert store.get(QUEUE, "done-b").state is State.DONE
