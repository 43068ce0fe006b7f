import pytest

from holdfast.app import App
from holdfast.cli.application import find_app
from holdfast.events import Events
from holdfast.testing.clock import MovableClock

CODE = """
from holdfast import App
app = App("sqlite:///jobs.db")

@app.schedule(cron="0 9 * * MON-FRI", tz="Europe/Paris")
@app.task(name="report", queue="mail")
def report() -> None: ...
"""


@pytest.fixture
def book(app, send):
    """The schedules of the App: one by interval in two queues, and one by cron."""
    app.schedules.add(send.call(1), name="often", every=300, queues=["mail", "news"])
    app.schedules.add(send.call(2), name="daily", cron="0 9 * * *", tz="Europe/Paris", overlap="allow", jitter=60)
    return app.schedules


@pytest.fixture
def ticks(url):
    """What became of a schedule that has ticked three times by now."""
    clock = MovableClock()
    with App(url, clock=clock, events=Events(logger=None)) as app:
        send = app.task(name="mail.send", queue="mail")(lambda user: None)
        app.schedules.add(send.call(1), name="often", every=1800, missed="all", overlap="allow")
        clock.move(5400)
        app.schedules.ticker(["mail"]).tick()
        return app.schedules.ticks("often")


def rows(said):
    return [" ".join(line.split()) for line in said.splitlines()]


# -- looking ----------------------------------------------------------------------------------------------------


def test_schedules_are_listed_with_rule_zone_next_tick_and_state(holdfast, url, book):
    book.pause("often", "news")

    said = rows(holdfast("schedules", "list", "--url", url).out)

    assert said[0] == "QUEUE NAME RULE ZONE NEXT LAST TICK"
    assert said[1].startswith("mail daily 0 9 * * * Europe/Paris 20")
    assert said[2].startswith("mail often every 5 min 20")
    assert said[3] == "news often every 5 min paused"


def test_the_list_as_json_has_everything(holdfast, url, book):
    daily, *_ = holdfast("schedules", "list", "--url", url, "--json").document["schedules"]

    assert daily["rule"] == {"type": "cron", "expression": "0 9 * * *", "tz": "Europe/Paris"}
    assert (daily["queue"], daily["name"], daily["kind"]) == ("mail", "daily", "mail.send")
    assert (daily["missed"], daily["overlap"], daily["jitter"], daily["source"]) == ("latest", "allow", 60.0, "manual")
    assert (daily["paused"], daily["orphaned"], daily["last"]) == (False, False, None)
    assert daily["next"].endswith("Z")


def test_one_queues_schedules_are_listed(holdfast, url, book):
    found = holdfast("schedules", "list", "--url", url, "--queue", "news", "--json").document["schedules"]

    assert [(one["queue"], one["name"]) for one in found] == [("news", "often")]


def test_a_store_without_schedules_says_so(holdfast, url, app):
    app.backend.queues()

    assert holdfast("schedules", "list", "--url", url).out == "there are no schedules\n"


def test_a_schedule_of_code_that_nobody_fires_is_shown_as_orphaned(holdfast, project):
    project("shop.py", CODE)
    find_app("shop:app").schedules.register()

    [schedule] = holdfast("schedules", "list", "--url", "sqlite:///jobs.db", "--json").document["schedules"]
    assert (schedule["name"], schedule["source"], schedule["orphaned"]) == ("report", "code", True)
    assert rows(holdfast("schedules", "list", "--app", "shop:app").out)[1].endswith(" orphaned")


def test_a_worker_says_which_schedules_it_fires(holdfast, project):
    project("shop.py", CODE)

    said = holdfast("worker", "shop:app", "--drain").out

    assert "report 0 9 * * MON-FRI in Europe/Paris mail" in rows(said)


def test_a_schedule_is_shown_with_its_ticks(holdfast, url, ticks):
    assert len(ticks) == 3
    shown = holdfast("schedules", "show", "often", "--url", url, "--json").document["schedules"][0]
    said = holdfast("schedules", "show", "often", "--url", url).out

    assert [tick["job"] for tick in shown["ticks"]] == [tick.job for tick in ticks]
    assert {tick["outcome"] for tick in shown["ticks"]} == {"sent"}
    assert shown["last"] == shown["ticks"][0]
    assert "rule      every 30 min, counted from 20" in said
    assert "sends     mail.send, " in said
    assert "missed    all; overlap allow" in said
    assert all(tick.job in said for tick in ticks)


def test_a_schedule_that_has_not_ticked_says_so(holdfast, url, book):
    said = holdfast("schedules", "show", "daily", "--url", url).out

    assert "rule      0 9 * * * in Europe/Paris" in said
    assert "overlap allow, spread over 1 min" in said
    assert said.endswith("it has not ticked yet\n")


def test_the_next_ticks_are_shown_in_the_schedules_zone(holdfast, url, book):
    said = rows(holdfast("schedules", "next", "daily", "-n", 3, "--url", url).out)

    assert said[0] == "QUEUE IN ITS ZONE UTC"
    assert len(said) == 4
    assert all(" 09:00:00+0" in line for line in said[1:])


def test_the_next_ticks_of_a_paused_schedule_are_shown_and_said_not_to_come(holdfast, url, book):
    book.pause("daily")

    answer = holdfast("schedules", "next", "daily", "--url", url)

    assert len(rows(answer.out)) == 7
    assert "daily of queue mail is paused: it ticks at none of these" in answer.out


def test_the_next_ticks_as_json_are_by_queue(holdfast, url, book):
    found = holdfast("schedules", "next", "often", "-n", 2, "--url", url, "--json").document["next"]

    assert [(one["queue"], len(one["ticks"])) for one in found] == [("mail", 2), ("news", 2)]


# -- changing ---------------------------------------------------------------------------------------------------


def test_schedules_are_paused_and_resumed(holdfast, url, book):
    assert holdfast("schedules", "pause", "often", "daily", "--url", url).out == (
        "paused: often of queue mail\npaused: often of queue news\npaused: daily of queue mail\n"
    )
    assert all(one.paused for one in book.list())

    holdfast("schedules", "resume", "often", "--queue", "news", "--url", url)
    assert [one.queue for one in book.list() if not one.paused] == ["news"]


def test_a_typo_in_one_name_changes_none_of_the_others(holdfast, url, book):
    said = holdfast("schedules", "pause", "often", "dayly", "--url", url).complaint

    assert "no schedule is called 'dayly' (did you mean 'daily'?)" in said
    assert not any(one.paused for one in book.list())


def test_a_schedule_is_run_at_once_also_when_it_is_paused(holdfast, url, app, book, work):
    book.pause("often")

    jobs = holdfast("schedules", "run", "often", "--queue", "mail", "--url", url, "--json").document["jobs"]

    assert [(job["schedule"], job["queue"]) for job in jobs] == [("often", "mail")]
    work()
    assert app.job("mail", jobs[0]["id"]).view.state == "done"


def test_schedules_are_removed_when_it_is_meant(holdfast, url, book):
    assert "this removes 2 schedules: often: nobody is there to ask" in (
        holdfast("schedules", "remove", "often", "--url", url).misuse
    )

    holdfast("schedules", "remove", "often", "--yes", "--url", url)

    assert [one.name for one in book.list()] == ["daily"]


def test_an_app_is_as_good_as_a_url(holdfast, project):
    project("shop.py", CODE)
    find_app("shop:app").schedules.register()

    holdfast("schedules", "pause", "report", "--app", "shop:app")

    with App("sqlite:///jobs.db", events=Events(logger=None)) as app:
        assert app.schedules.get("report").paused
