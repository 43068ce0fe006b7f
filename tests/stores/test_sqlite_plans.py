"""The hot statements go through their indexes, whatever stands in front: the flat cost of semantics.md, section 1."""

import pytest

from holdfast.config import parse_url
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.sqlite.connection import Connection, Place
from holdfast.stores.sqlite.statements import statements

JOBS, UPKEEP, PLACES, READING = (statements(f"{name}.sql") for name in ("jobs", "upkeep", "places", "reading"))

PLANS = {
    "ready": (JOBS["ready"], 2, ["SEARCH job USING INDEX holdfast_job_ready (lane=?)", "SEARCH body USING INTEGER"]),
    "due": (JOBS["due"], 3, ["SEARCH holdfast_job USING INDEX holdfast_job_scheduled (queue=? AND due<?)"]),
    "over": (JOBS["over"], 3, ["INDEX holdfast_job_expiring (queue=? AND expires>? AND expires<?)"]),
    "front": (JOBS["front"], 2, ["SEARCH holdfast_job USING INDEX holdfast_job_line (queue=? AND key=?"]),
    "known_ids": (
        JOBS["known_ids"],
        2,
        ["SEARCH holdfast_job USING COVERING INDEX holdfast_job_id (queue=? AND id=?)"],
    ),
    "grant": (JOBS["grant"], 4, ["SEARCH holdfast_job USING INTEGER PRIMARY KEY (rowid=?)"]),
    "ack": (
        JOBS["ack"],
        4,
        [
            "SEARCH holdfast_job USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH job USING INDEX holdfast_job_id (queue=? AND id=?)",
        ],
    ),
    "head_by_id": (
        JOBS["head"] + JOBS["head_by_id"],
        2,
        ["SEARCH job USING INDEX holdfast_job_id (queue=? AND id=?)"],
    ),
    "heads_of_holder": (
        JOBS["head"] + JOBS["heads_of_holder"],
        1,
        ["SEARCH job USING INDEX holdfast_job_running (holder=?)"],
    ),
    "aged": (UPKEEP["aged"], 4, ["INDEX holdfast_job_ended (queue=? AND state=? AND kept=?)"]),
    "lapsed": (UPKEEP["lapsed"], 2, ["SEARCH holdfast_job USING INDEX holdfast_job_kept (kept>? AND kept<?)"]),
    "delete_forgotten": (
        UPKEEP["delete_forgotten"],
        3,
        ["INDEX holdfast_job_forgotten (queue=? AND ended<?)"],
    ),
    "cancels": (UPKEEP["cancels"], 1, ["SEARCH job USING INDEX holdfast_job_running (holder=?)"]),
    "oldest_ready": (PLACES["oldest_ready"], 1, ["holdfast_job_ready (lane=? AND priority<?)"]),
    "chance": (
        READING["chance"],
        3,
        [
            "INDEX holdfast_job_ready (lane=?",
            "INDEX holdfast_job_scheduled (queue=?",
        ],
    ),
}


@pytest.fixture(params=["apsw", pytest.param("sqlite3", marks=pytest.mark.filterwarnings("ignore::RuntimeWarning"))])
def connection(tmp_path, request):
    path = tmp_path / "jobs.db"
    store = open_store(parse_url(f"sqlite:///{path}?driver={request.param}"))
    store.send("work", [Message(body=b"x")])
    store.close()
    connection = Connection(Place(path, driver=request.param))
    yield connection
    connection.close()


@pytest.mark.parametrize("name", PLANS)
def test_a_hot_statement_searches_its_index(connection, name):
    sql, parameters, expected = PLANS[name]

    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters)]

    for fragment in expected:
        assert any(fragment in step for step in steps), steps
    assert not [step for step in steps if "SCAN job" in step or "SCAN holdfast_job" in step or "TEMP B-TREE" in step]
