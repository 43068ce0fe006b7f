"""OpenTelemetry spans of an App: one for each send, one for each run, in one trace across processes.

Needs the extra ``tracing``, which brings ``opentelemetry-api``. Names and attributes are those of OpenTelemetry's
conventions for messaging.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

from holdfast.errors import Cancel, RetryLater, UsageError
from holdfast.failures import ErrorInfo
from holdfast.middleware import Sending
from holdfast.worker import Context

try:
    from opentelemetry import propagate, trace
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
except ImportError as missing:
    raise UsageError("tracing needs opentelemetry-api: pip install 'holdfast[tracing]'") from missing

if TYPE_CHECKING:
    from holdfast.app import App

_TRACED: WeakSet[App] = WeakSet()


class Tracing:
    """Traces every send and every run of ``app`` from now on; make it before workers, and once: ``UsageError`` else.

    A send is a ``PRODUCER`` span where the sender is. Its context travels in the headers of its messages, and each run
    is a ``CONSUMER`` span below it, linked to it as well; what a handler sends is below its run. So are follow-ups. The
    jobs of a schedule's tick begin a trace of their own; those of subscribers belong to the event that was published.
    A message that carries a ``traceparent`` of its own keeps it.

    Spans go to ``provider``, by default the global one; the headers are written by the global propagator. Without an
    SDK nothing is recorded and no header is written.
    """

    def __init__(self, app: App, provider: TracerProvider | None = None) -> None:
        if app in _TRACED:
            raise UsageError(f"{app!r} is traced already, and would be twice")
        _TRACED.add(app)
        from holdfast import __version__

        self._tracer = trace.get_tracer("holdfast", __version__, tracer_provider=provider)
        app.middleware.send(self._around_send)
        app.middleware.run(self._around_run)

    def _around_send(self, sending: Sending) -> Iterator[None]:
        if sending.later and all(_has_context(message.headers) for message in sending.messages):
            yield  # of the event that these hand on
            return
        verb = "create" if sending.later else "send"
        attributes = _attributes(verb, sending.queue)
        if len(sending.messages) > 1:
            attributes["messaging.batch.message_count"] = len(sending.messages)
        elif sending.messages:
            attributes |= _of_message(sending.messages[0].id, sending.messages[0].kind)
        with self._tracer.start_as_current_span(
            f"{verb} {sending.queue}",
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            if carrier:
                sending.add_headers(carrier)
            try:
                yield
            except BaseException as error:
                _failed(span, error)
                raise

    def _around_run(self, context: Context) -> Iterator[None]:
        parent = propagate.extract(context.headers)
        created = trace.get_current_span(parent).get_span_context()
        attributes = _attributes("process", context.queue) | _of_message(context.id, context.kind)
        attributes["holdfast.job.attempt"] = context.attempt
        with self._tracer.start_as_current_span(
            f"process {context.queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(created)] if created.is_valid else None,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except (Cancel, RetryLater) as decision:  # of the handler's own, and no failure
                span.set_attribute("holdfast.job.decision", type(decision).__name__)
                raise
            except BaseException as error:
                _failed(span, error)
                raise


def _attributes(verb: str, queue: str) -> dict[str, str | int]:
    return {
        "messaging.system": "holdfast",
        "messaging.operation.name": verb,
        "messaging.operation.type": verb,
        "messaging.destination.name": queue,
    }


def _of_message(message_id: str, kind: str) -> dict[str, str | int]:
    return {"messaging.message.id": message_id, **({"holdfast.job.kind": kind} if kind else {})}


def _has_context(headers: Mapping[str, str]) -> bool:
    return trace.get_current_span(propagate.extract(headers)).get_span_context().is_valid


def _failed(span: Span, error: BaseException) -> None:
    told = ErrorInfo.of(error)  # bounded, and cannot fail, whatever the error's own methods do
    span.set_attribute("error.type", told.type)
    span.set_status(Status(StatusCode.ERROR, told.message))
    exception = {"type": told.type, "message": told.message, "stacktrace": told.traceback}
    span.add_event("exception", {f"exception.{name}": text for name, text in exception.items()})
