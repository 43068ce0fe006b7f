"""Metrics of one process: what is counted, what is asked of the store, and what happens when that is away."""

import subprocess
import sys
import threading

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from holdfast import App, Cancel, Message, Unique, UsageError
from holdfast.clock import SYSTEM
from holdfast.delivery import HolderInfo
from holdfast.events import (
    BeforeBury,
    BeforeRetry,
    GateClosed,
    GateOpened,
    LogTrimmed,
    LoopBlocked,
    LoopLag,
    Recovered,
    Rescued,
    Retired,
    Stalled,
    Started,
    Ticked,
)
from holdfast.metrics import Metrics, asking
from holdfast.worker.outcomes import ProcessDied


@pytest.fixture
def app(tmp_path):
    app = App(f"sqlite:///{tmp_path}/jobs.db", logger=None)

    @app.task(name="divide", queue="math", retry=1)
    def divide(a: int, b: int) -> float:
        if b < 0:
            raise Cancel("negative")
        return a / b

    yield app
    app.close()


@pytest.fixture
def divide(app):
    return app.tasks["divide"]


def read(metrics):
    """Every sample by its name and labels, as Prometheus reads it."""
    samples = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            samples[sample.name, *sorted(sample.labels.items())] = sample.value
    return samples


def of_job(name, queue="math", kind="divide"):
    return (f"holdfast_{name}", ("kind", kind), ("queue", queue))


def of_state(state, queue="math"):
    return ("holdfast_jobs", ("queue", queue), ("state", state))


# -- what happened here -------------------------------------------------------------------------------------------


def test_what_happens_to_jobs_is_counted(app, divide):
    metrics = Metrics(app)
    app.enqueue_many([divide.call(1, 1), divide.call(1, 0), divide.call(1, -1)])
    with app.worker(drain=True) as worker:
        worker.join()

    samples = read(metrics)

    counted = {name: samples[of_job(f"jobs_{name}_total")] for name in ("sent", "leased", "started")}
    assert counted == {"sent": 3, "leased": 3, "started": 3}
    assert [samples[of_job(f"jobs_{name}_total")] for name in ("done", "buried", "cancelled")] == [1, 1, 1]
    assert samples[of_job("job_duration_seconds_count")] == 3
    assert samples[of_job("job_wait_seconds_count")] == 3


def test_a_send_that_finds_its_job_is_a_duplicate(app, divide):
    metrics = Metrics(app)
    for _ in range(3):
        divide.using(unique=Unique("one")).enqueue(1, 1)

    samples = read(metrics)

    assert (samples[of_job("jobs_sent_total")], samples[of_job("jobs_duplicate_total")]) == (1, 2)


def test_waiting_begins_when_a_job_could_have_started(app, divide):
    metrics = Metrics(app)
    divide.enqueue(1, 1)
    [job] = app.backend.lease(*_leasing(app), limit=1, kinds=["divide"], max_format=1)
    job.ready -= 20_000

    app.events.emit(Started(job))

    assert 20 <= read(metrics)[of_job("job_wait_seconds_sum")] < 25


def _leasing(app):
    app.backend.beat(HolderInfo(id="w#1", ttl=60, queues=("math",), kinds=("divide",)))
    return "math", "w#1", "lease-1"


def test_what_housekeeping_and_schedules_do_is_counted(app):
    metrics = Metrics(app)
    holder = HolderInfo(id="w#1", ttl=10)
    for event in (
        Rescued(4),
        Retired(holder, 3, 2, "worker died: SIGKILL"),
        Retired(holder, 1),
        LoopBlocked(1.0, ""),
        LoopLag(0.25),
        Ticked("math", "daily", 0, "sent", "42"),
    ):
        app.events.emit(event)

    samples = read(metrics)

    assert samples["holdfast_jobs_rescued_total",] == 4
    assert samples["holdfast_holders_retired_total",] == 2
    assert (samples["holdfast_jobs_returned_total",], samples["holdfast_jobs_crashed_total",]) == (4, 2)
    assert (samples["holdfast_loop_blocked_total",], samples["holdfast_loop_lag_seconds_sum",]) == (1, 0.25)
    assert samples["holdfast_schedule_ticks_total", ("outcome", "sent"), ("queue", "math")] == 1


def test_the_death_of_an_isolated_run_is_a_crash(app, divide):
    metrics = Metrics(app)
    divide.enqueue(1, 1)
    [job] = app.backend.lease(*_leasing(app), limit=1, kinds=["divide"], max_format=1)

    app.events.emit(BeforeRetry(job, ProcessDied("worker died: SIGKILL"), 0.0))
    app.events.emit(BeforeBury(job, ValueError(), "ValueError"))

    samples = read(metrics)
    counts = [samples[of_job("jobs_retried_total")], samples[of_job("jobs_buried_total")]]
    assert (counts, samples["holdfast_jobs_crashed_total",]) == ([1, 1], 1)


def test_what_lasts_goes_up_and_down(app):
    metrics = Metrics(app)
    app.events.emit(Stalled("w#1", 30.0, None))
    app.events.emit(GateClosed("divide"))
    during = read(metrics)

    app.events.emit(Recovered("w#1", 40.0))
    app.events.emit(GateOpened("divide"))
    after = read(metrics)

    stalled, gate = ("holdfast_workers_stalled",), ("holdfast_gate_closed", ("kind", "divide"))
    assert (during[stalled], during[gate], after[stalled], after[gate]) == (1, 1, 0, 0)
    assert after["holdfast_worker_stalls_total",] == 1


def test_no_label_grows_with_the_number_of_jobs(app, divide):
    metrics = Metrics(app)
    divide.enqueue(1, 1)
    few = len(read(metrics))
    app.enqueue_many([divide.using(key=f"key {n}", headers={"n": f"{n}"}).call(1, 1) for n in range(200)])

    assert len(read(metrics)) == few


def test_runs_that_never_end_are_forgotten_in_time(app, divide, monkeypatch):
    monkeypatch.setattr("holdfast.metrics.counting.MOST_RUNS", 10)
    metrics = Metrics(app)
    app.enqueue_many([divide.call(1, 1) for _ in range(30)])
    for job in app.backend.lease(*_leasing(app), limit=30, kinds=["divide"], max_format=1):
        app.events.emit(Started(job))  # and is given back

    assert read(metrics)[of_job("jobs_started_total")] == 30
    [begun] = [vars(one.__self__)["_begun"] for kind, one in app.events._listeners if kind is Started][:1]
    assert len(begun) == 10


# -- how the queues stand -----------------------------------------------------------------------------------------


def test_the_gauges_are_what_the_store_says(app, divide):
    metrics = Metrics(app)
    app.enqueue_many([divide.call(1, 1), divide.call(1, 0), divide.call(1, -1)])
    with app.worker(drain=True) as worker:
        worker.join()
    divide.using(delay=3600).enqueue(1, 1)
    app.enqueue_many([divide.using(key="a").call(1, 1), divide.using(key="a").call(1, 1)])
    app.backend.send("odd", [Message(body=b"", kind="nobody's")])
    app.queue("odd").pause()
    sent = SYSTEM.wall()
    while SYSTEM.wall() == sent:
        pass  # until the oldest has been ready for a millisecond

    samples = read(metrics)

    stats = app.queue("math").stats()
    for state in ("scheduled", "ready", "running", "done", "dead", "cancelled", "expired"):
        assert samples[of_state(state)] == getattr(stats, state)
    assert (samples[of_state("ready")], samples["holdfast_jobs_held", ("queue", "math")]) == (2, 1)
    assert samples["holdfast_oldest_ready_seconds", ("queue", "math")] > 0
    assert samples["holdfast_jobs_unhandled", ("kind", "nobody's"), ("queue", "odd")] == 1
    paused = [samples["holdfast_queue_paused", ("queue", queue)] for queue in ("odd", "math")]
    assert paused == [1, 0]
    assert samples["holdfast_store_up",] == 1


def test_the_gauges_of_logs_are_those_of_logs_that_are_open(app):
    metrics = Metrics(app)
    assert not [name for name, *_ in read(metrics) if name in ("holdfast_log_messages", "holdfast_group_lag_messages")]

    log = app.log("orders", partitions=2)
    log.append_many([(b"%d" % number, str(number)) for number in range(6)])
    log.group("billing").seek(to="earliest")
    log.group("audit").seek(to="latest")

    samples, group = read(metrics), (("log", "orders"),)
    assert samples["holdfast_log_messages", *group] == 6
    assert samples["holdfast_log_bytes", *group] >= 6
    assert samples["holdfast_group_lag_messages", ("group", "billing"), *group] == 6
    assert samples["holdfast_group_lag_messages", ("group", "audit"), *group] == 0
    assert samples["holdfast_group_lag_seconds", ("group", "audit"), *group] == 0


def test_what_retention_removes_from_logs_is_counted(app):
    metrics = Metrics(app)
    app.events.emit(LogTrimmed(5, 100))
    assert read(metrics)["holdfast_log_messages_dropped_total",] == 5


def test_workers_are_those_that_live(app):
    metrics = Metrics(app)
    with app.worker(concurrency=3):
        app.backend.beat(HolderInfo(id="quiet#1", ttl=60, kinds=("x",), state="quiet", slots=2, memory=10, lag=0.5))
        app.backend.beat(HolderInfo(id="reader#1", ttl=60))
        samples = read(metrics)

    workers = {state: samples["holdfast_workers", ("state", state)] for state in ("working", "quiet", "stopping")}
    assert (workers["quiet"], workers["stopping"]) == (1, 0)
    assert samples["holdfast_worker_loop_lag_seconds",] == 0.5


def test_of_very_many_unhandled_kinds_the_largest_are_told_apart(app, monkeypatch):
    monkeypatch.setattr(asking, "MOST_KINDS", 2)
    for kind, jobs in (("a", 3), ("b", 1), ("c", 2), ("d", 1)):
        app.backend.send("odd", [Message(body=b"", kind=kind) for _ in range(jobs)])

    samples = read(Metrics(app))

    told = {name[1][1]: value for name, value in samples.items() if name[0] == "holdfast_jobs_unhandled"}
    assert told == {"a": 3, "c": 2, "(others)": 2}


def test_a_store_that_is_away_is_said_to_be_and_nothing_else_is_lost(tmp_path, caplog):
    (tmp_path / "jobs.db").mkdir()
    app = App(f"sqlite:///{tmp_path}/jobs.db")
    metrics = Metrics(app)
    app.events.emit(Rescued(1))

    samples = [read(metrics), read(metrics)][-1]

    assert samples["holdfast_store_up",] == 0
    assert samples["holdfast_jobs_rescued_total",] == 1
    assert not [name for name in samples if name[0] == "holdfast_jobs"]
    assert caplog.text.count("the store cannot be asked") == 1


def test_a_store_that_does_not_answer_keeps_no_scrape_waiting(app, monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.05)
    gate, asked, store = threading.Event(), [], app.backend

    def slow(_):
        asked.append(1)
        gate.wait()
        return store

    monkeypatch.setattr(App, "backend", property(slow))
    metrics = Metrics(app)

    during = [read(metrics)["holdfast_store_up",] for _ in range(3)]
    questions = len(asked)
    gate.set()
    monkeypatch.setattr(asking, "PATIENCE", 30)

    assert (during, questions) == ([0, 0, 0], 1)
    assert read(metrics)["holdfast_store_up",] == 1


# -- registries ---------------------------------------------------------------------------------------------------


def test_an_app_has_one_metrics_which_can_be_asked_for(app):
    metrics = Metrics(app)

    assert Metrics.of(app) is metrics
    with pytest.raises(UsageError, match=r"has its metrics already: Metrics.of\(app\)"):
        Metrics(app)


def test_two_apps_in_one_registry_are_refused_with_the_way_out(app):
    registry = CollectorRegistry()
    Metrics(app, registry)

    with pytest.raises(UsageError, match="give each App a registry of its own"):
        Metrics(App("memory:"), registry)


def test_without_the_extra_the_import_says_what_to_install():
    source = "import sys; sys.modules['prometheus_client'] = None; import holdfast.metrics"

    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert ended.stderr.splitlines()[-1].endswith("metrics need prometheus-client: pip install 'holdfast[metrics]'")
