import pytest

from holdfast.config import QueueSettings
from holdfast.delivery import State
from tests.cli.conftest import on_terminal


@pytest.fixture
def dead(send, work):
    """Two dead letters of queue mail, and one job that was done."""
    letters = [send.enqueue(13), send.enqueue(13)]
    send.enqueue(1)
    work()
    return letters


def counts(app, queue="mail"):
    stats = app.backend.stats(queue)
    return {state.value: number for state in State if (number := getattr(stats, state.value))}


# -- looking ----------------------------------------------------------------------------------------------------


def test_queues_are_listed_with_their_counts(holdfast, url, dead):
    heading, row = holdfast("queues", "list", "--url", url).out.splitlines()

    assert dict(zip(heading.split(), row.split(), strict=True)) == {
        "QUEUE": "mail", "SCHEDULED": "0", "READY": "0", "RUNNING": "0", "DONE": "1", "DEAD": "2", "CANCELLED": "0",
        "EXPIRED": "0",
    }  # fmt: skip


def test_a_store_without_queues_says_so(holdfast, app, url):
    app.backend.queues()

    assert holdfast("queues", "list", "--url", url).out == "this store has no queues yet\n"
    assert holdfast("queues", "list", "--url", url, "--json").document == {"queues": []}


def test_stats_show_kinds_that_nobody_handles_and_the_oldest_ready_job(holdfast, url, send):
    send.enqueue(1)

    [queue] = holdfast("queues", "stats", "--url", url, "--json").document["queues"]
    said = holdfast("queues", "stats", "mail", "--url", url).out

    assert queue["unhandled"] == {"mail.send": 1}
    assert queue["depth"] == 1
    assert queue["oldest_ready"] >= 0
    assert "unhandled     1 of kind mail.send: no live worker of this queue has that task" in said
    assert "oldest ready  0" in said


def test_stats_have_these_keys_and_no_others(holdfast, url, send):
    send.enqueue(1)

    [queue] = holdfast("queues", "stats", "--url", url, "--json").document["queues"]

    assert set(queue) == {
        "queue", "scheduled", "ready", "held", "running", "done", "dead", "cancelled", "expired", "paused",
        "oldest_ready", "unhandled", "depth",
    }  # fmt: skip


# -- pausing ----------------------------------------------------------------------------------------------------


def test_a_paused_queue_is_shown_as_paused_until_it_is_resumed(holdfast, app, url, send):
    send.enqueue(1)

    assert holdfast("queues", "pause", "mail", "--url", url).out == "paused: mail\n"
    assert "paused: no lease is granted" in holdfast("queues", "stats", "--url", url).out
    assert holdfast("queues", "resume", "mail", "--url", url, "--json").document == {"queues": ["mail"]}
    assert app.backend.stats("mail").paused is False


# -- reload, flush, destroy -------------------------------------------------------------------------------------


def test_reload_moves_dead_letters_to_ready_with_one_more_attempt(holdfast, app, url, dead):
    answer = holdfast("queues", "reload", "mail", "--url", url, "--json").document

    assert (answer["count"], answer["left"]) == (2, 0)
    assert {job["id"] for job in answer["jobs"]} == {job.id for job in dead}
    assert counts(app) == {"ready": 2, "done": 1}
    view = dead[0].refresh().view
    assert (view.attempts, view.max_attempts) == (1, 2)


def test_reload_takes_only_what_matches(holdfast, app, url, dead):
    holdfast("queues", "reload", "mail", "--reason", "timeout", "--url", url)

    assert counts(app) == {"dead": 2, "done": 1}


def test_reload_ends_even_if_jobs_fail_as_fast_as_they_are_reloaded(holdfast, app, url, dead):
    with app.worker(["mail"]):
        answer = holdfast("queues", "reload", "mail", "--url", url, "--json").document

    assert answer["count"] == 2


def test_flush_clears_the_dead_letters_and_nothing_else(holdfast, app, url, dead):
    answer = holdfast("queues", "flush", "mail", "--yes", "--url", url, "--json").document

    assert answer == {"count": 2, "state": "dead", "queues": {"mail": 2}}
    assert counts(app) == {"done": 1}


def test_flush_clears_the_state_that_is_named(holdfast, app, url, dead):
    assert holdfast("queues", "flush", "mail", "--state", "done", "--yes", "--url", url).out == "1 done job removed\n"
    assert counts(app) == {"dead": 2}


def test_destroy_removes_the_queue_with_everything(holdfast, app, url, dead):
    assert holdfast("queues", "destroy", "mail", "--yes", "--url", url).out == "destroyed mail with 3 jobs\n"
    assert "mail" not in app.backend.queues()


WARNINGS = {
    "queues flush mail": "this removes 2 dead jobs of mail for good",
    "queues destroy mail": "this destroys mail with 3 jobs",
    "dead purge": "this removes 2 dead letters of mail for good",
}


@pytest.mark.parametrize("command", WARNINGS)
def test_what_cannot_be_undone_is_refused_where_nobody_can_be_asked(holdfast, app, url, dead, command):
    said = holdfast(*command.split(), "--url", url).misuse

    assert f"{WARNINGS[command]}: nobody is there to ask; add --yes if this is meant." in said
    assert counts(app) == {"dead": 2, "done": 1}


@pytest.mark.slow
def test_on_a_terminal_a_no_leaves_everything_as_it_is(app, url, dead):
    shown, code = on_terminal(["queues", "destroy", "mail", "--url", url], answer="n\n")

    assert "this destroys mail with 3 jobs. Go on? [y/N]" in shown
    assert code == 1
    assert counts(app) == {"dead": 2, "done": 1}


@pytest.mark.slow
def test_on_a_terminal_a_yes_goes_on_with_a_bar(app, url, dead):
    shown, code = on_terminal(["queues", "flush", "mail", "--url", url], answer="y\n")

    assert "2 dead jobs removed" in shown
    assert "flushing" in shown
    assert "100%" in shown
    assert code == 0
    assert counts(app) == {"done": 1}


def test_queues_are_chosen_by_label_and_group(holdfast, app, url):
    app.queue("a").declare(QueueSettings(labels={"team": "mail", "tier": "1"}, group="out"))
    app.queue("b").declare(QueueSettings(labels={"team": "mail"}))
    app.queue("c").declare(QueueSettings())

    def listed(*options):
        found = holdfast("queues", "list", "--url", url, "--json", *options).document["queues"]
        return [queue["queue"] for queue in found]

    assert listed("--label", "team=mail") == ["a", "b"]
    assert listed("--label", "team=mail", "--label", "tier=1") == ["a"]
    assert listed("--group", "out") == ["a"]
    heading, a, _, _ = holdfast("queues", "list", "--url", url).out.splitlines()
    assert heading.split()[-2:] == ["LABELS", "GROUP"]
    assert a.split()[-3:] == ["team=mail", "tier=1", "out"]
    assert holdfast("queues", "list", "--url", url, "--group", "none").out == "no queue matches\n"
    assert "NAME=VALUE" in holdfast("queues", "list", "--url", url, "--label", "team").misuse
