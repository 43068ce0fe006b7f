"""Queues that an App declares: their settings, strict names, and choosing them by name, label and group."""

import pytest

from holdfast import App, UsageError
from holdfast.config import QueueSettings
from holdfast.declared import selector
from holdfast.errors import ConfigError

MAIL = QueueSettings(labels={"team": "mail", "tier": "1"}, group="out", max_body=1000)
SMS = QueueSettings(labels={"team": "mail"}, group="out")
SUMS = QueueSettings(labels={"team": "math"})
QUEUES = {"mail": MAIL, "mail-slow": SMS, "sums": SUMS}


@pytest.fixture
def app():
    with App("memory:", queues=QUEUES) as app:
        yield app


@pytest.fixture
def strict():
    with App("memory:", queues=QUEUES, strict_queues=True) as app:
        yield app


def names(queues):
    return [queue.name for queue in queues]


# -- settings -----------------------------------------------------------------------------------------------------


def test_declared_queues_are_there_with_their_settings_when_the_store_is_open(app):
    assert app.backend.queues() == QUEUES
    assert app.queue("mail").settings() == MAIL
    assert app.queue("nowhere").settings() is None


def test_declaring_touches_no_store(tmp_path):
    App(f"sqlite:///{tmp_path}/jobs.db", queues=QUEUES)

    assert list(tmp_path.iterdir()) == []


def test_settings_that_the_store_has_already_are_not_written_again(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with App(url, queues={**QUEUES, "sums": QueueSettings()}):
        pass
    written = []
    from holdfast.stores.sqlite import SqliteBackend

    declare = SqliteBackend.declare
    monkeypatch.setattr(
        SqliteBackend, "declare", lambda self, queue, settings: written.append(queue) or declare(self, queue, settings)
    )
    with App(url, queues=QUEUES) as app:
        assert app.backend.queues() == QUEUES

    assert written == ["sums"]


def test_the_last_program_to_open_the_store_wins(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    with App(url, queues={"mail": MAIL}), App(url, queues={"mail": SMS}) as app:
        assert app.backend.queues() == {"mail": SMS}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"labels": {"team": 1}}, "labels must map texts to texts"),
        ({"labels": "team"}, "labels must map texts to texts"),
        ({"group": 7}, "group must be a text"),
        ({"codec": 7}, "codec must be a text"),
    ],
)
def test_settings_that_are_no_texts_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        QueueSettings(**settings)


def test_what_is_no_declaration_is_refused():
    with pytest.raises(UsageError, match="QueueSettings"):
        App("memory:", queues={"mail": {"group": "x"}})
    with pytest.raises(UsageError, match="1 to 255"):
        App("memory:", queues={"": MAIL})


# -- codecs -------------------------------------------------------------------------------------------------------


def test_the_codec_of_a_task_goes_before_its_queues_and_that_before_the_apps():
    app = App("memory:", codec="json", queues={"packed": QueueSettings(codec="msgpack")})

    @app.task(queue="packed", name="a")
    def a() -> None: ...

    @app.task(queue="packed", name="b", codec="json")
    def b() -> None: ...

    @app.task(name="c")
    def c() -> None: ...

    assert [task.settings.codec.name for task in (a, b, c)] == ["msgpack", "json", "json"]


def test_results_travel_by_the_codec_of_the_queue():
    with App("memory:", queues={"packed": QueueSettings(codec="msgpack")}) as app:

        @app.task(queue="packed", result=60)
        def twice(body: bytes) -> bytes:
            return body * 2

        job = twice.enqueue(b"\xff")
        with app.worker(drain=True) as worker:
            worker.join(30)

        assert job.result(10) == b"\xff\xff"
        assert job.refresh().view.headers == {"codec": "msgpack"}


def test_a_codec_that_cannot_be_used_is_refused_with_its_queue():
    with pytest.raises(UsageError, match=r"queue 'mail'.*pickle"):
        App("memory:", queues={"mail": QueueSettings(codec="pickle")})
    with pytest.raises(UsageError, match="queue 'mail'"):
        App("memory:", queues={"mail": QueueSettings(codec="yaml")})


# -- strict names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda app: app.queue("mial"),
        lambda app: app.task(queue="mial")(lambda: None),
        lambda app: app.worker(["mial"]),
        lambda app: app.task(queue="mail", name="t")(print_nothing).using(queue="mial"),
        lambda app: app.publish("k", {}, queue="mial"),
    ],
)
def test_a_name_that_is_not_declared_is_refused_with_the_nearest(strict, use):
    with pytest.raises(UsageError, match=r"'mial' is not declared.*did you mean 'mail'"):
        use(strict)
    assert sorted(strict.backend.queues()) == sorted(QUEUES)


def print_nothing() -> None: ...


def test_the_default_queue_is_to_be_declared_too(strict):
    with pytest.raises(UsageError, match="'default' is not declared"):
        strict.task(print_nothing)


def test_strict_names_touch_no_store(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db", queues=QUEUES, strict_queues=True)
    with pytest.raises(UsageError):
        app.queue("mial")

    assert list(tmp_path.iterdir()) == []


def test_queues_of_others_are_still_listed(strict):
    strict.backend.declare("theirs", QueueSettings())

    assert "theirs" in names(strict.queues())


def test_without_strict_names_any_queue_will_do(app):
    app.queue("other").send(b"x")

    assert "other" in names(app.queues())


# -- choosing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, ["mail", "mail-slow", "sums"]),
        ({"names": "mail"}, ["mail"]),
        ({"names": "mail*"}, ["mail", "mail-slow"]),
        ({"names": ["*s", "mail"]}, ["mail", "sums"]),
        ({"names": "m*l*w"}, ["mail-slow"]),
        ({"names": "mai?"}, []),
        ({"names": []}, []),
        ({"labels": {"team": "mail"}}, ["mail", "mail-slow"]),
        ({"labels": {"team": "mail", "tier": 1}}, ["mail"]),
        ({"labels": {"team": "mail", "tier": 2}}, []),
        ({"labels": {"other": "mail"}}, []),
        ({"group": "out"}, ["mail", "mail-slow"]),
        ({"group": ""}, ["sums"]),
        ({"group": "out", "labels": {"tier": "1"}, "names": "mail*"}, ["mail"]),
    ],
)
def test_queues_are_chosen_by_what_all_of_them_match(app, given, found):
    assert names(app.queues(**given)) == found


def test_labels_are_a_mapping():
    with pytest.raises(UsageError, match="mapping"):
        selector(labels=["team"])


def test_chosen_queues_are_consumed_inspected_and_destroyed(app):
    @app.task(queue="mail", name="t")
    def t() -> None: ...

    t.using(queue="mail-slow").enqueue()
    t.enqueue()
    t.using(queue="sums").enqueue()
    chosen = app.queues(labels={"team": "mail"})
    with app.worker(chosen, drain=True) as worker:
        worker.join(30)

    assert [queue.stats().done for queue in chosen] == [1, 1]
    assert app.queue("sums").stats().ready == 1
    assert [queue.destroy() for queue in chosen] == [1, 1]
    assert names(app.queues()) == ["sums"]
