import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from holdfast.bulk import Pace
from holdfast.delivery import HolderInfo, Report, State
from holdfast.message import Message, Unique
from tests.cli.conftest import PROGRAM


def states(app, *jobs):
    return [job.refresh().state for job in jobs]


# -- list -------------------------------------------------------------------------------------------------------


def test_jobs_of_all_queues_are_listed_newest_first(holdfast, url, send):
    first, second = send.enqueue(1), send.using(queue="news").enqueue(2)

    jobs = holdfast("jobs", "list", "--url", url, "--json").document["jobs"]

    assert {job["id"] for job in jobs} == {first.id, second.id}
    assert [job["sent"] for job in jobs] == sorted((job["sent"] for job in jobs), reverse=True)


def test_a_listed_job_has_these_keys_and_no_others(holdfast, url, send):
    send.enqueue(1)

    [job] = holdfast("jobs", "list", "--url", url, "--json").document["jobs"]

    assert set(job) == {
        "queue", "id", "kind", "state", "reason", "attempts", "max_attempts", "crashes", "token", "key", "unique",
        "held", "priority", "timeout", "sent", "due", "expires", "started", "ended", "holder", "cancel_requested",
        "format", "progress", "headers", "arguments", "body_base64",
    }  # fmt: skip


def test_instants_are_iso_8601_in_utc(holdfast, url, send):
    send.enqueue(1)

    [job] = holdfast("jobs", "list", "--url", url, "--json").document["jobs"]

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", job["sent"])
    assert abs(datetime.fromisoformat(job["sent"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_table_is_aligned_and_names_its_columns(holdfast, url, send):
    job = send.enqueue(1)

    heading, row = holdfast("jobs", "list", "--url", url).out.splitlines()

    assert heading.split() == ["ID", "QUEUE", "KIND", "STATE", "ATTEMPTS", "AGE", "REASON"]
    assert row.split()[:5] == [job.id, "mail", "mail.send", "ready", "0/1"]
    assert heading.index("STATE") == row.index("ready")


def test_nothing_to_list_is_said(holdfast, app, url):
    app.backend.queues()

    assert holdfast("jobs", "list", "--url", url).out == "no jobs match\n"


def test_the_app_may_name_the_store(holdfast, project, url, send):
    job = send.enqueue(1)
    project("shop.py", f"from holdfast import App\napp = App({url!r})\n")

    assert job.id in holdfast("jobs", "list", "--app", "shop:app").out


def test_the_environment_may_name_the_store(holdfast, monkeypatch, url, send):
    job = send.enqueue(1)
    monkeypatch.setenv("HOLDFAST_URL", url)

    assert job.id in holdfast("jobs", "list").out


@pytest.fixture
def several(send, work):
    """Jobs of three users: 1 is done, 13 is dead, 2 is ready in another queue."""
    send.enqueue(1)
    send.enqueue(13)
    work()
    send.using(queue="news").enqueue(2)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("--state dead", [13]),
        ("--state dead --state done", [13, 1]),
        ("--queue news", [2]),
        ("--kind mail.send --state done", [1]),
        ("--kind mail.other", []),
        ("--reason ValueError", [13]),
        ("--text user", [13]),
        ("--since 1h", [2, 13, 1]),
        ("--since 2999-01-01", []),
    ],
)
def test_filters_choose(holdfast, url, several, filters, expected):
    jobs = holdfast("jobs", "list", *filters.split(), "--url", url, "--json").document["jobs"]

    assert sorted(job["arguments"]["user"] for job in jobs) == sorted(expected)


def test_pages_of_one_queue_are_joined_by_cursors(holdfast, url, send):
    send.enqueue_many(send.call(user) for user in range(5))
    seen, cursor, pages = [], [], 0

    while pages == 0 or cursor[1] is not None:
        page = holdfast("jobs", "list", "--limit", 2, *cursor, "--url", url, "--json").document
        seen += [job["arguments"]["user"] for job in page["jobs"]]
        cursor, pages = ["--cursor", page["cursor"]], pages + 1
        assert page["more"] is (page["cursor"] is not None)

    assert seen == [4, 3, 2, 1, 0]
    assert pages == 3


def test_a_page_in_words_says_how_to_go_on(holdfast, url, send):
    send.enqueue_many(send.call(user) for user in range(3))

    assert re.search(
        r"^more: --queue mail --cursor \S+$", holdfast("jobs", "list", "--limit", 2, "--url", url).out, re.M
    )


def test_a_page_of_several_queues_says_that_there_is_more(holdfast, url, send):
    send.enqueue(1)
    send.using(queue="news").enqueue(2)

    page = holdfast("jobs", "list", "--limit", 1, "--url", url, "--json").document

    assert (len(page["jobs"]), page["cursor"], page["more"]) == (1, None, True)


# -- show -------------------------------------------------------------------------------------------------------


def test_a_dead_job_is_shown_with_arguments_and_the_traceback_of_its_last_run(holdfast, url, send, work):
    job = send.enqueue(13, template="rich")
    work()

    shown = holdfast("jobs", "show", job.id, "--url", url).out

    assert re.search(r"^state +dead: ValueError$", shown, re.M)
    assert re.search(r"^attempts +1/1$", shown, re.M)
    assert '"template": "rich"' in shown
    assert "ValueError: no user 13" in shown
    assert 'raise ValueError("no user 13")' in shown


def test_a_shown_job_has_its_runs_and_result_as_json(holdfast, url, send, work):
    job = send.enqueue(1)
    work()

    shown = holdfast("jobs", "show", job.id, "--url", url, "--json").document

    assert shown["result"] == "plain to 1"
    assert shown["arguments"] == {"user": 1}
    [run] = shown["runs"]
    assert (run["number"], run["outcome"], run["error"]) == (1, "done", None)


def test_a_body_that_is_no_json_is_shown_as_bytes(holdfast, app, url):
    stored = app.backend.send("raw", [Message(body=b"\xff\x00bytes")])[0]

    shown = holdfast("jobs", "show", stored.id, "--url", url, "--json").document

    assert shown["arguments"] is None
    assert shown["body_base64"] == "/wBieXRlcw=="
    assert r"b'\xff\x00bytes'" in holdfast("jobs", "show", stored.id, "--url", url).out


def test_messagepack_is_read_as_its_header_says_and_pickle_never(holdfast, app, url):
    packed = app.backend.send("raw", [Message(body=b"\x81\xa4user\x01", headers={"codec": "msgpack"})])[0]
    pickled = app.backend.send("raw", [Message(body=b"cos\nsystem\n.", headers={"codec": "pickle"})])[0]

    assert holdfast("jobs", "show", packed.id, "--url", url, "--json").document["arguments"] == {"user": 1}
    assert holdfast("jobs", "show", pickled.id, "--url", url, "--json").document["arguments"] is None


def test_what_a_terminal_would_obey_is_not_printed(holdfast, app, url):
    stored = app.backend.send("raw", [Message(body=b'"\\u001b[2J"', kind="evil\x1b[2J")])[0]

    shown = holdfast("jobs", "show", stored.id, "--url", url)

    assert "\x1b" not in shown.out
    assert "evil?[2J" in shown.out


def test_an_id_that_two_queues_have_is_asked_for_its_queue(holdfast, app, url):
    for queue in ("a", "b"):
        app.backend.send(queue, [Message(body=b"{}", id="same")])

    assert "several queues have a job same: say --queue a" in holdfast("jobs", "show", "same", "--url", url).complaint
    assert holdfast("jobs", "show", "same", "--queue", "b", "--url", url, "--json").document["queue"] == "b"


# -- cancel -----------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_by_its_id(holdfast, app, url, send):
    job, other = send.enqueue(1), send.enqueue(2)

    answer = holdfast("jobs", "cancel", job.id, "--url", url, "--json").document

    assert answer == {"jobs": [{"id": job.id, "queue": "mail", "state": "cancelled"}]}
    assert states(app, job, other) == [State.CANCELLED, State.READY]


def test_cancelling_a_job_that_has_ended_changes_nothing_and_says_so(holdfast, app, url, send, work):
    job = send.enqueue(1)
    work()

    assert "had ended before" in holdfast("jobs", "cancel", job.id, "--url", url).out
    assert states(app, job) == [State.DONE]


def test_cancelling_by_filter_wants_a_yes(holdfast, app, url, send):
    job = send.enqueue(1)

    refused = holdfast("jobs", "cancel", "--all", "--url", url)
    assert "this cancels 1 job: nobody is there to ask; add --yes" in refused.misuse
    assert states(app, job) == [State.READY]

    assert holdfast("jobs", "cancel", "--all", "--yes", "--url", url).code == 0
    assert states(app, job) == [State.CANCELLED]


# -- replay -----------------------------------------------------------------------------------------------------


def test_jobs_are_replayed_by_id_and_others_left_alone(holdfast, app, url, send, work):
    dead, done = send.enqueue(13), send.enqueue(1)
    work()

    answer = holdfast("jobs", "replay", dead.id, done.id, "--url", url, "--json").document

    assert answer == {"count": 1, "left": 1, "jobs": [{"queue": "mail", "id": dead.id}], "duplicates": []}
    assert states(app, dead, done) == [State.READY, State.DONE]
    assert dead.refresh().view.attempts == 0


def test_jobs_whose_unique_key_another_has_are_told_apart(holdfast, app, url, send, work):
    unique = send.using(unique=Unique("user-13"))
    dead = unique.enqueue(13)
    work()
    waiting = unique.enqueue(1)

    said = holdfast("jobs", "replay", dead.id, waiting.id, "--url", url).out.splitlines()

    assert said == [
        "0 jobs replayed: ready again, with all attempts anew",
        "1 duplicate left as found: another job has the same unique key",
        "1 job left as found: only dead, cancelled and expired jobs are replayed",
    ]
    answer = holdfast("jobs", "replay", dead.id, "--url", url, "--json").document
    assert answer == {"count": 0, "left": 0, "jobs": [], "duplicates": [{"queue": "mail", "id": dead.id}]}


def test_all_that_match_are_replayed_at_a_rate(holdfast, app, url, send, work):
    send.enqueue_many(send.call(13) for _ in range(5))
    work()
    cancelled = send.enqueue(1)
    cancelled.cancel()

    said = holdfast("jobs", "replay", "--state", "dead", "--rate", 1_000_000, "--url", url).out

    assert said == "5 jobs replayed: ready again, with all attempts anew\n"
    assert states(app, cancelled) == [State.CANCELLED]


def test_a_rate_is_kept_from_batch_to_batch(holdfast, monkeypatch, url, send, work):
    send.enqueue_many(send.call(13) for _ in range(3))
    work()
    pauses = []

    class Unhurried(Pace):
        def __init__(self, rate, stop):
            super().__init__(rate, SimpleNamespace(wait=pauses.append, is_set=lambda: False))

    monkeypatch.setattr("holdfast.bulk.Pace", Unhurried)

    holdfast("jobs", "replay", "--all", "--rate", 0.5, "--url", url)

    assert [round(pause) for pause in pauses] == [2, 4]


@pytest.mark.slow
def test_an_output_that_nobody_reads_to_its_end_is_no_error(url, send):
    send.enqueue_many(send.call(user) for user in range(200))
    reading, writing = os.pipe()
    os.close(reading)

    command = [*PROGRAM, "jobs", "list", "--limit", "200", "--url", url]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)

    os.close(writing)
    assert ended.stderr == b""


# -- progress ---------------------------------------------------------------------------------------------------


def test_how_far_a_running_job_is_can_be_seen(holdfast, app, url, send):
    job = send.enqueue(1)
    app.backend.beat(HolderInfo(id="me#1", ttl=60))
    [running] = app.backend.lease("mail", "me#1", "lease", limit=1, kinds=["mail.send"], max_format=1)
    app.backend.report([Report(running.receipt, 0.425, "page 4")])

    listed = holdfast("jobs", "list", "--url", url).out
    shown = holdfast("jobs", "show", job.id, "--url", url).out
    [document] = holdfast("jobs", "list", "--url", url, "--json").document["jobs"]

    assert "running 42%" in listed
    assert re.search(r"progress +42%, page 4 \(\d+ s ago\)", shown)
    assert (document["progress"]["fraction"], document["progress"]["note"]) == (0.425, "page 4")
