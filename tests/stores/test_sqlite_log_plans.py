"""The hot statements of logs go through their indexes, however much lies in front: lag and ends cost no scan."""

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.logged import Columns
from holdfast.stores import open_store
from holdfast.stores.sqlite.connection import Connection, Location
from holdfast.stores.sqlite.statements import statements

APPENDS, READING, GROUPS, RETENTION = (
    statements(f"logs/{name}.sql") for name in ("appends", "reading", "groups", "retention")
)

PLACE = "SEARCH holdfast_place USING PRIMARY KEY (reading=?"
PARTITION = "USING INDEX holdfast_partition_place (log=?"
APPEND = "INDEX holdfast_append_base (partition=?"

PLANS = {
    # appending
    "settings": (APPENDS["settings"], 1, ["SEARCH holdfast_log USING INTEGER PRIMARY KEY (rowid=?)"]),
    "partition": (APPENDS["partition"], 2, [f"SEARCH holdfast_partition {PARTITION} AND partition=?)"]),
    "size": (APPENDS["size"], 1, [f"SEARCH holdfast_partition {PARTITION})"]),
    "grow": (APPENDS["grow"], 5, ["SEARCH holdfast_partition USING INTEGER PRIMARY KEY (rowid=?)"]),
    "window": (APPENDS["window"], 2, ["SEARCH holdfast_producer USING PRIMARY KEY (partition=? AND id=?)"]),
    "forget_producers": (APPENDS["forget_producers"], 2, ["INDEX holdfast_producer_used (partition=? AND used<?)"]),
    # reading
    "ends": (READING["ends"], 1, [f"SEARCH part {PARTITION})", f"SEARCH append USING {APPEND})"]),
    "holding": (READING["holding"], 2, [f"SEARCH holdfast_append USING {APPEND} AND base<?)"]),
    "appends": (
        READING["appends"],
        2,
        [f"SEARCH holdfast_append USING {APPEND} AND base>?)", f"COVERING {APPEND} AND base<?)"],
    ),
    "news": (READING["news"], 2, [f"SEARCH part {PARTITION} AND partition=?)"]),
    # groups
    "changes": (GROUPS["changes"], 1, ["SEARCH holdfast_group USING INTEGER PRIMARY KEY (rowid=?)"]),
    "seen": (GROUPS["seen"], 4, ["SEARCH holdfast_group USING INTEGER PRIMARY KEY (rowid=?)"]),
    "seen_with": (GROUPS["seen_with"], 4, ["SEARCH holdfast_member USING INDEX holdfast_member_holder (holder=?)"]),
    "members": (GROUPS["members"], 1, ["INDEX holdfast_member_reading (reading=?)", "USING PRIMARY KEY (id=?)"]),
    "members_of": (GROUPS["members_of"], 1, ["INDEX holdfast_member_holder (holder=?)"]),
    "free": (GROUPS["free"], 1, ["INDEX holdfast_place_member (member=?)"]),
    "held": (GROUPS["held"], 2, ["SEARCH place USING", "SEARCH sought USING PRIMARY KEY (reading=? AND partition=?)"]),
    "take": (GROUPS["take"], 4, [f"{PLACE} AND partition=?)", f"{PLACE})"]),
    "place": (GROUPS["place"], 3, ["(reading=? AND partition=?)", f"SEARCH part {PARTITION} AND partition=?)"]),
    "move": (GROUPS["move"], 4, [f"{PLACE} AND partition=?)"]),
    "seek": (GROUPS["seek"], 3, [f"{PLACE} AND partition=?)"]),
    "get_crashes": (GROUPS["get_crashes"], 2, ["USING PRIMARY KEY (reading=? AND partition=?)"]),
    "forget_crashes": (GROUPS["forget_crashes"], 3, ["USING PRIMARY KEY (reading=? AND partition=? AND position<?)"]),
    "lags": (
        GROUPS["lags"],
        2,
        [
            "SEARCH place USING PRIMARY KEY (reading=?)",
            f"SEARCH part {PARTITION} AND partition=?)",
            f"{APPEND} AND base<?)",
        ],
    ),
    # retention
    "numbers": (RETENTION["numbers"], 1, [f"SEARCH append USING COVERING {APPEND})"]),
    "droppable": (RETENTION["droppable"], 3, [f"SEARCH holdfast_append USING {APPEND} AND base<?)"]),
    "drop": (RETENTION["drop"], 2, [f"SEARCH holdfast_append USING {APPEND} AND base<?)"]),
    "left": (RETENTION["left"], 0, [f"SEARCH holdfast_partition {PARTITION})"]),
}
LARGE = ("append", "holdfast_append", "place", "holdfast_place", "holdfast_crash", "holdfast_producer")


@pytest.fixture(
    params=[
        "apsw",
        pytest.param("sqlite3", marks=[pytest.mark.again, pytest.mark.filterwarnings("ignore::RuntimeWarning")]),
    ]
)
def connection(tmp_path, request):
    path = tmp_path / "logs.db"
    store = open_store(parse_url(f"sqlite:///{path}?driver={request.param}"))
    store.open_logs().declare("events", LogSettings())
    store.open_logs().append("events", 0, Columns([b"x"]))
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
    assert [step for step in steps if step.startswith(tuple(f"SCAN {table}" for table in LARGE))] == []
    assert not [step for step in steps if "TEMP B-TREE" in step]
