"""The hot statements go through their indexes, whatever stands in front: the flat cost of semantics.md, section 1."""

import re

import pytest

from holdfast.config import parse_url
from holdfast.message import Message
from holdfast.stores import open_store
from holdfast.stores.sqlite.connection import Connection, Location
from holdfast.stores.sqlite.statements import statements

JOBS, UPKEEP, PLACES, READING, SLOTS, SCHEDULES = (
    statements(f"{name}.sql") for name in ("jobs", "upkeep", "places", "reading", "slots", "schedules")
)

PLANS = {
    "ready": (JOBS["ready"], 2, ["SEARCH job USING INDEX holdfast_job_ready (lane=?)", "SEARCH body USING INTEGER"]),
    "due jobs": (JOBS["due"], 3, ["SEARCH holdfast_job USING INDEX holdfast_job_scheduled (queue=? AND due<?)"]),
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
    "report": (
        JOBS["report"],
        3,
        ["SEARCH job USING INDEX holdfast_job_id (queue=? AND id=?)", "SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"],
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
    "heads_of_lease": (
        JOBS["head"] + JOBS["heads_of_lease"],
        2,
        ["USING INDEX holdfast_job_running"],
    ),
    "in_scheduled": (UPKEEP["in_scheduled"], 5, ["INDEX holdfast_job_scheduled (queue=?)"]),
    "in_ended": (UPKEEP["in_ended"], 5, ["INDEX holdfast_job_ended (queue=? AND state=?)"]),
    "in_ready": (UPKEEP["in_ready"], 5, ["USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]),
    "in_states": (UPKEEP["in_states"], 4, ["INDEX holdfast_job_id (queue=? AND id=?)"]),
    "aged": (UPKEEP["aged"], 4, ["INDEX holdfast_job_ended (queue=? AND state=? AND kept=?)"]),
    "lapsed": (UPKEEP["lapsed"], 2, ["SEARCH holdfast_job USING INDEX holdfast_job_kept (kept>? AND kept<?)"]),
    "delete_forgotten": (
        UPKEEP["delete_forgotten"],
        3,
        ["INDEX holdfast_job_forgotten (queue=? AND ended<?)"],
    ),
    "signs": (UPKEEP["signs"], 4, ["USING COVERING INDEX holdfast_job_kept (kept>? AND kept<?)"]),
    "signs_of_queues": (
        UPKEEP["signs_of_queues"],
        0,
        [
            "INDEX holdfast_job_expiring (queue=?",
            "INDEX holdfast_job_scheduled (queue=?)",
            "INDEX holdfast_job_forgotten (queue=?)",
            "INDEX holdfast_job_ended (queue=? AND state=? AND kept=?)",
            "INDEX holdfast_slot_left (queue=?)",
        ],
    ),
    "cancels": (UPKEEP["cancels"], 1, ["SEARCH job USING INDEX holdfast_job_running (holder=?)"]),
    "slots": (
        SLOTS["slots"],
        2,
        ["SEARCH slot USING PRIMARY KEY (queue=? AND key=?)", "SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"],
    ),
    "leave": (SLOTS["leave"], 1, ["INDEX holdfast_slot_job (seq=?)"]),
    "delete_left": (
        SLOTS["delete_left"],
        3,
        [
            "SEARCH holdfast_slot USING PRIMARY KEY (queue=? AND key=?)",
            "INDEX holdfast_slot_left (queue=? AND lasts<?)",
        ],
    ),
    "oldest_ready": (PLACES["oldest_ready"], 1, ["holdfast_job_ready (lane=? AND priority<?)"]),
    "due": (SCHEDULES["due"], 4, ["INDEX holdfast_schedule_next (queue=? AND next<?)"]),
    "next": (SCHEDULES["next"], 3, ["COVERING INDEX holdfast_schedule_next (queue=? AND next>?)"]),
    "find schedule": (SCHEDULES["find"], 2, ["SEARCH holdfast_schedule USING INDEX"]),
    "open": (
        SCHEDULES["open"],
        4,
        ["INDEX holdfast_tick_open (schedule=?)", "INDEX holdfast_job_id (queue=? AND id=?)"],
    ),
    "known_ticks": (SCHEDULES["known_ticks"], 2, ["USING PRIMARY KEY (schedule=? AND tick=?)"]),
    "prune": (SCHEDULES["prune"], 2, ["USING PRIMARY KEY (schedule=?"]),
    "aged ticks": (SCHEDULES["aged"], 3, ["INDEX holdfast_tick_age (queue=? AND tick<?)"]),
    "ticks": (SCHEDULES["ticks"], 4, ["USING PRIMARY KEY (schedule=? AND tick<?)"]),
    "chance": (
        READING["chance"],
        3,
        [
            "INDEX holdfast_job_ready (lane=?",
            "INDEX holdfast_job_scheduled (queue=?",
        ],
    ),
}


@pytest.fixture(
    params=[
        "apsw",
        pytest.param("sqlite3", marks=[pytest.mark.filterwarnings("ignore::RuntimeWarning"), pytest.mark.again]),
    ]
)
def connection(tmp_path, request):
    path = tmp_path / "jobs.db"
    store = open_store(parse_url(f"sqlite:///{path}?driver={request.param}"))
    store.send("work", [Message(body=b"x")])
    store.close()
    connection = Connection(Location(path, driver=request.param))
    yield connection
    connection.close()


@pytest.mark.parametrize("name", PLANS)
def test_a_hot_statement_searches_its_index(connection, name):
    sql, parameters, expected = PLANS[name]

    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", (None,) * parameters)]

    for fragment in expected:
        assert any(fragment in step for step in steps), steps
    # Walking the index of running jobs, of which there are few, is the one scan there is.
    large = ("SCAN job", "SCAN holdfast_job", "SCAN slot", "SCAN holdfast_slot")
    scans = [step for step in steps if step.startswith(large)]
    assert [step for step in scans if "holdfast_job_running" not in step] == []
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_a_page_of_a_listing_walks_by_send_order(connection):
    sql = READING["view"] + READING["page"]
    names = set(re.findall(r":(\w+)", sql))

    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", dict.fromkeys(names))]

    assert any("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)" in step for step in steps), steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps
