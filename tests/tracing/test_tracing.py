"""Spans of one process: who is whose parent, what they say, and what sends carry."""

import asyncio
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from holdfast import CONTEXT, App, Bury, Cancel, Context, RetryLater, UsageError
from holdfast.testing import MovableClock
from holdfast.tracing import Tracing


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def app(provider):
    app = App("memory:", logger=None)
    Tracing(app, provider)
    yield app
    app.close()


@pytest.fixture
def work(app):
    def work():
        with app.worker(drain=True) as worker:
            worker.join()

    return work


@pytest.fixture
def spans(exporter):
    """The spans that have ended, by name; several of one name in a list."""

    def spans(name=None):
        ended = exporter.get_finished_spans()
        return [span for span in ended if name is None or span.name == name]

    return spans


def is_child(span, parent):
    return (span.parent.span_id, span.context.trace_id) == (parent.context.span_id, parent.context.trace_id)


def test_a_run_is_below_its_send_and_linked_to_it(app, work, spans):
    @app.task(name="add", queue="math")
    def add(a: int, b: int) -> int:
        return a + b

    job = add.enqueue(1, 2)
    work()

    [send], [run] = spans("send math"), spans("process math")
    assert (send.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert is_child(run, send)
    assert [link.context.span_id for link in run.links] == [send.context.span_id]
    assert dict(run.attributes) == {
        "messaging.system": "holdfast",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "math",
        "messaging.message.id": job.id,
        "holdfast.job.kind": "add",
        "holdfast.job.attempt": 1,
    }
    assert send.attributes["messaging.message.id"] == job.id


def test_a_send_is_below_what_its_sender_does(app, provider, spans):
    task = app.task(name="t")(lambda: None)

    with provider.get_tracer("web").start_as_current_span("request") as request:
        task.enqueue()

    assert is_child(spans("send default")[0], request)


def test_an_awaited_send_is_below_what_its_sender_does(app, provider, spans):
    task = app.task(name="t")(lambda: None)

    async def request(number):
        with provider.get_tracer("web").start_as_current_span(f"request {number}"):
            await asyncio.sleep(0)
            await task.aenqueue()

    async def serve():
        await asyncio.gather(*(request(number) for number in range(3)))

    asyncio.run(serve())

    parents = {span.context.span_id for number in range(3) for span in spans(f"request {number}")}
    assert {span.parent.span_id for span in spans("send default")} == parents


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_what_a_handler_sends_and_does_is_below_its_run(app, provider, work, spans, is_async):
    child = app.task(name="child")(lambda: None)

    def parent() -> None:
        with provider.get_tracer("mine").start_as_current_span("inside"):
            child.enqueue()

    async def parent_soon() -> None:
        with provider.get_tracer("mine").start_as_current_span("inside"):
            await child.aenqueue()

    app.task(name="parent", queue="first")(parent_soon if is_async else parent).enqueue()
    work()

    [run], [inside], [send], [below] = (
        spans(name) for name in ("process first", "inside", "send default", "process default")
    )
    assert is_child(inside, run)
    assert is_child(send, inside)
    assert is_child(below, send)


def test_a_call_in_bulk_is_one_span_and_each_run_is_below_it(app, work, spans):
    task = app.task(name="t")(lambda: None)
    app.enqueue_many([task.call(), task.call()])
    work()

    [send] = spans("send default")
    assert send.attributes["messaging.batch.message_count"] == 2
    assert all(is_child(run, send) for run in spans("process default"))
    assert len(spans("process default")) == 2


def test_follow_ups_are_below_the_run_they_follow(app, work, spans):
    after = app.task(name="after")(lambda: None)

    @app.task(name="before")
    def before(*, ctx: Context = CONTEXT) -> None:
        ctx.then(after.call())

    before.enqueue()
    work()

    [first, second] = sorted(spans("process default"), key=lambda span: span.start_time)
    [create] = spans("create default")
    assert is_child(create, first)
    assert is_child(second, create)


def test_subscribers_are_below_the_event_that_was_published(app, work, spans):
    @app.on("user.created")
    def welcome(user: int) -> None: ...

    @app.on("user.created")
    def count(user: int) -> None: ...

    app.publish("user.created", 7)
    work()

    [published] = spans("send events")
    runs = spans("process events")
    assert sorted(run.attributes["holdfast.job.kind"] for run in runs) == ["user.created/count", "user.created/welcome"]
    assert all(is_child(run, published) for run in runs)


def test_a_tick_of_a_schedule_begins_a_trace(provider, spans):
    clock = MovableClock()
    with App("memory:", logger=None, clock=clock) as app:
        Tracing(app, provider)
        app.schedule(every=3600)(app.task(name="tidy")(lambda: None))
        ticker = app.schedules.ticker(["default"])
        ticker.tick()
        clock.move(3600)
        ticker.tick()
        with app.worker(drain=True) as worker:
            worker.join()

    [create], [run] = spans("create default"), spans("process default")
    assert create.parent is None
    assert is_child(run, create)


def test_raw_messages_carry_the_context_too(app, spans):
    app.queue("raw").send(b"x")

    with app.queue("raw").lease() as deliveries:
        [headers] = [delivery.headers for delivery in deliveries]

    [send] = spans("send raw")
    assert headers["traceparent"].split("-")[1:3] == [
        f"{send.context.trace_id:032x}",
        f"{send.context.span_id:016x}",
    ]


def test_headers_of_the_senders_own_stay(app, work, spans):
    task = app.task(name="t")(lambda: None)
    theirs = f"00-{1:032x}-{2:016x}-01"
    task.using(headers={"traceparent": theirs, "tenant": "a"}).enqueue()
    work()

    [run] = spans("process default")
    assert (run.context.trace_id, run.parent.span_id) == (1, 2)


def test_each_attempt_is_a_run_of_its_own_below_the_one_send(app, work, spans):
    @app.task(name="t", retry=2)
    def fails() -> None:
        raise RetryLater(0) if len(spans()) < 2 else ValueError("no")

    fails.enqueue()
    work()

    [send], runs = spans("send default"), spans("process default")
    assert [run.attributes["holdfast.job.attempt"] for run in runs] == [1, 2]
    assert all(is_child(run, send) for run in runs)
    assert [run.status.status_code for run in runs] == [StatusCode.UNSET, StatusCode.ERROR]
    assert runs[0].attributes["holdfast.job.decision"] == "RetryLater"
    assert runs[1].attributes["error.type"] == "ValueError"
    [event] = runs[1].events
    assert event.name == "exception"
    assert event.attributes["exception.message"] == "no"


@pytest.mark.parametrize(
    ("error", "failed"), [(Cancel("no"), False), (Bury("broken"), True), (SystemExit(3), True)], ids=repr
)
def test_a_decision_is_no_failure_but_a_burial_is(app, work, spans, error, failed):
    @app.task(name="t", retry=1)
    def decides() -> None:
        raise error

    decides.enqueue()
    work()

    [run] = spans("process default")
    assert (run.status.status_code is StatusCode.ERROR) == failed


def test_a_send_that_is_refused_is_a_failure(app, spans):
    task = app.task(name="t")(lambda: None)
    app.close()

    with pytest.raises(Exception, match="closed"):
        task.enqueue()

    [send] = spans("send default")
    assert send.status.status_code is StatusCode.ERROR


def test_without_an_sdk_nothing_is_written_into_the_headers():
    with App("memory:") as app:
        Tracing(app, trace.NoOpTracerProvider())
        app.queue("raw").send(b"x")
        with app.queue("raw").lease() as deliveries:
            assert [delivery.headers for delivery in deliveries] == [{}]


def test_an_app_is_traced_once(app):
    with pytest.raises(UsageError, match="is traced already"):
        Tracing(app)


def test_without_the_extra_the_import_says_what_to_install():
    source = "import sys; sys.modules['opentelemetry'] = None; import holdfast.tracing"

    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert ended.stderr.splitlines()[-1].endswith("tracing needs opentelemetry-api: pip install 'holdfast[tracing]'")
