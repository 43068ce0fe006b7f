"""``holdfast doctor`` says what is wrong with a store, and what to do."""

import apsw

from holdfast.contract import QueueBackend


def levels(answer):
    return [finding["level"] for finding in answer.document["findings"]]


def test_a_healthy_store_is_said_to_be_so(holdfast, url, app):
    app.queues()

    answer = holdfast("doctor", url)

    assert answer.code == 0
    assert "its pages are sound" in answer.out
    assert answer.out.splitlines()[-1] == "0 errors, 0 warnings"
    assert set(levels(holdfast("doctor", url, "--json"))) == {"ok"}


def test_a_warning_comes_with_its_reason_and_what_to_do_and_leaves_the_code(holdfast, url, send):
    send.enqueue(1)

    answer = holdfast("doctor", url)

    assert answer.code == 0
    assert "warn: queue 'mail': 1 ready of kind 'mail.send'" in answer.out
    assert "do    start a worker whose App has that task" in answer.out
    assert answer.out.splitlines()[-1] == "0 errors, 1 warning"


def test_an_error_makes_the_exit_code_one(holdfast, url, send, tmp_path):
    send.enqueue(1)
    theirs = apsw.Connection(f"{tmp_path}/jobs.db")
    theirs.execute("UPDATE holdfast_count SET jobs = 7")
    theirs.close()

    answer = holdfast("doctor", url, "--json")

    assert answer.code == 1
    assert answer.document["errors"] == 1
    assert "7 ready counted, 1 found" in str(answer.document)


def test_the_app_names_the_store_too(holdfast, project):
    project("shop.py", "from holdfast import App\napp = App('sqlite:///shop.db')\napp.queues()\n")

    assert holdfast("doctor", "shop:app").code == 0


def test_memory_answers_shortly(holdfast):
    answer = holdfast("doctor", "memory:")

    assert answer.code == 0
    assert "they are gone" not in answer.out
    assert "jobs live in the memory of this process" in answer.out


def test_a_store_without_a_doctor_says_so(holdfast, monkeypatch):
    class Plain(QueueBackend):
        def close(self):
            return 0

    monkeypatch.setattr("holdfast.stores._opener", lambda url: lambda url, clock: Plain())
    answer = holdfast("doctor", "plain:")

    assert (answer.code, answer.out) == (0, "Plain cannot be examined: it has no doctor\n")


def test_a_file_that_is_not_there_is_not_made(holdfast, url, tmp_path):
    assert "there is no file" in holdfast("doctor", url).complaint
    assert list(tmp_path.iterdir()) == []
