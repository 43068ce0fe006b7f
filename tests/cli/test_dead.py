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
