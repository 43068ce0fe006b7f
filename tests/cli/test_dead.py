import pytest

from holdfast.delivery import State


@pytest.fixture
def letters(app, send):
    """A dead letter of queue mail and one of queue news; a job of mail was done."""
    found = [send.enqueue(13), send.using(queue="news").enqueue(13)]
    send.enqueue(1)
    with app.worker(["mail", "news"], drain=True) as worker:
        worker.join()
    return found


def test_dead_letters_are_listed_with_their_last_error(holdfast, url, letters):
    said = holdfast("dead", "list", "--url", url).out
    found = holdfast("dead", "list", "--url", url, "--json").document["jobs"]

    assert said.count("ValueError: no user 13") == 2
    assert {(job["id"], job["error"]) for job in found} == {(job.id, "ValueError: no user 13") for job in letters}


def test_a_list_of_one_queue_leaves_the_others_out(holdfast, url, letters):
    [found] = holdfast("dead", "list", "--queue", "news", "--url", url, "--json").document["jobs"]

    assert found["id"] == letters[1].id


def test_no_dead_letters_are_said_to_be_none(holdfast, url, send):
    send.enqueue(1)

    assert holdfast("dead", "list", "--url", url).out == "no dead letters match\n"


def test_all_dead_letters_are_replayed_as_if_new(holdfast, url, letters):
    assert holdfast("dead", "replay", "--all", "--url", url, "--json").document["count"] == 2

    views = [job.refresh().view for job in letters]
    assert [(view.state, view.attempts) for view in views] == [(State.READY, 0)] * 2


def test_dead_letters_are_replayed_by_what_went_wrong(holdfast, url, letters):
    assert holdfast("dead", "replay", "--text", "no user 14", "--url", url, "--json").document["count"] == 0
    assert holdfast("dead", "replay", "--reason", "ValueError", "--url", url, "--json").document["count"] == 2


def test_replaying_twice_is_harmless_and_says_what_was_left(holdfast, url, letters):
    holdfast("dead", "replay", letters[0].id, "--url", url)

    said = holdfast("dead", "replay", letters[0].id, "--url", url).out

    assert "0 jobs replayed" in said
    assert "1 job left as found: only dead, cancelled and expired jobs are replayed" in said


def test_purge_removes_the_dead_letters_of_the_queues_named(holdfast, app, url, letters):
    answer = holdfast("dead", "purge", "--queue", "mail", "--yes", "--url", url, "--json").document

    assert answer == {"count": 1, "queues": {"mail": 1}}
    assert (app.backend.stats("mail").done, app.backend.stats("news").dead) == (1, 1)


def test_purging_nothing_asks_nobody(holdfast, url, send):
    send.enqueue(1)

    assert holdfast("dead", "purge", "--url", url).out == "0 dead letters removed\n"


# -- choosing -----------------------------------------------------------------------------------------------------


def test_a_dry_run_says_how_many_would_be_replayed_and_replays_none(holdfast, app, url, letters):
    said = holdfast("dead", "replay", "--all", "--dry-run", "--url", url).out
    answer = holdfast("dead", "replay", "--text", "no user 13", "--dry-run", "--url", url, "--json").document

    assert said == "2 jobs would be replayed\n"
    assert answer == {"dry_run": True, "count": 2, "exact": True, "queues": {"mail": 1, "news": 1}}
    assert app.backend.stats("mail").dead == 1


def test_dead_letters_are_chosen_by_when_they_died(holdfast, url, letters):
    def listed(*options):
        return {job["id"] for job in holdfast("dead", "list", *options, "--url", url, "--json").document["jobs"]}

    assert listed("--ended-since", "1h") == {job.id for job in letters}
    assert listed("--ended-until", "1h") == listed("--until", "1h") == set()


def test_purge_takes_ids_and_filters(holdfast, app, url, letters):
    assert holdfast("dead", "purge", "--text", "no user 14", "--yes", "--url", url, "--json").document["count"] == 0
    assert holdfast("dead", "purge", letters[0].id, "--yes", "--url", url, "--json").document == {
        "count": 1,
        "queues": {"mail": 1},
    }
    assert holdfast("dead", "purge", "--reason", "ValueError", "--dry-run", "--url", url).out == (
        "1 dead letter would be removed\n"
    )
    assert holdfast("dead", "purge", "--reason", "ValueError", "--yes", "--url", url, "--json").document["count"] == 1
    assert (app.backend.stats("mail").done, app.backend.stats("news").dead) == (1, 0)


def test_purge_leaves_alone_what_is_no_dead_letter(holdfast, app, url, send):
    waiting = send.enqueue(1)

    assert holdfast("dead", "purge", waiting.id, "--url", url).out == "0 dead letters removed\n"
    assert app.backend.stats("mail").ready == 1


def test_jobs_are_chosen_by_key_and_header(holdfast, url, send):
    one = send.using(key="user-1", headers={"tenant": "x"}).enqueue(1)
    send.using(key="user-2", headers={"tenant": "y"}).enqueue(2)

    for option in (("--key", "user-1"), ("--header", "tenant=x")):
        [found] = holdfast("jobs", "list", *option, "--url", url, "--json").document["jobs"]
        assert found["id"] == one.id
    assert "names no value" in holdfast("jobs", "list", "--header", "tenant", "--url", url).misuse
