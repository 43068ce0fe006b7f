import re


def test_the_rates_of_a_temporary_file_are_measured(holdfast):
    document = holdfast("bench", "--jobs", 200, "--json").document

    assert {name: measure["jobs"] for name, measure in document["measures"].items()} == {
        "enqueue_one": 20,
        "enqueue_bulk": 200,
        "work": 220,
    }
    assert all(measure["rate"] > 0 for measure in document["measures"].values())
    assert document["level"] == "synced"


def test_the_rates_are_a_table_for_people(holdfast):
    said = holdfast("bench", "--jobs", 100, "--url", "memory:").out

    assert said.startswith("memory:: a send is memory when it returns\n")
    assert re.search(r"^run in one worker +110 +\S+ s +[\d,]+$", said, re.M)


def test_a_store_that_was_measured_is_left_as_it_was(holdfast, app, url, send):
    send.enqueue(1)

    assert holdfast("bench", "--jobs", 100, "--url", url).code == 0

    assert list(app.backend.queues()) == ["mail"]
