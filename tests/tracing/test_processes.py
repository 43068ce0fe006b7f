"""One trace through processes: who sends, who runs the job, and the one in which the job that this one sent is run."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SHOP = """
import os, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from holdfast import App
from holdfast.tracing import Tracing

file = open(f"spans-{os.getpid()}.jsonl", "a", buffering=1)
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(
    ConsoleSpanExporter(out=file, formatter=lambda span: span.to_json(indent=None) + "\\n")
))
trace.set_tracer_provider(provider)
app = App("sqlite:///jobs.db")
Tracing(app)

@app.task(name="order", queue="orders")
async def order(number: int) -> None:
    await pay.aenqueue(number)

@app.task(name="pay", queue="payments", isolate=True)
def pay(number: int) -> None: ...

def buy():
    with trace.get_tracer("shop").start_as_current_span("checkout"):
        order.using(headers={"tenant": "a"}).enqueue(7)
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python in the directory of shop.py; returns its process id."""
    (tmp_path / "shop.py").write_text(SHOP)

    def run(source, *args):
        command = [sys.executable, "-c", source, *args]
        with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OTEL_SDK_DISABLED": "false"}) as process:
            assert process.wait(60) == 0
        return process.pid

    return run


def read_spans(folder):
    spans = [
        (file.stem, json.loads(line)) for file in folder.glob("spans-*.jsonl") for line in file.read_text().splitlines()
    ]
    return {span["name"]: (process, span) for process, span in spans}


def test_a_trace_links_sender_job_and_child_across_processes(run, tmp_path):
    work = "from holdfast.cli import main; main(prog_name='holdfast')"
    run("import shop; shop.buy()")
    run(work, "worker", "shop:app", "--drain", "--queues", "orders")
    run(work, "worker", "shop:app", "--drain", "--queues", "payments")

    spans = read_spans(tmp_path)

    path = ["checkout", "send orders", "process orders", "send payments", "process payments"]
    assert sorted(spans) == sorted(path)
    assert len({span["context"]["trace_id"] for _, span in spans.values()}) == 1
    parents = [spans[name][1]["parent_id"] for name in path]
    assert parents == [None, *(spans[name][1]["context"]["span_id"] for name in path[:-1])]
    processes = [spans[name][0] for name in path]
    assert processes[0] == processes[1]
    assert processes[2] == processes[3]
    assert len({processes[0], processes[2], processes[4]}) == 3
    sent, processed = spans["send orders"][1], spans["process orders"][1]
    assert processed["links"][0]["context"]["span_id"] == sent["context"]["span_id"]
    assert sent["attributes"]["messaging.message.id"] == processed["attributes"]["messaging.message.id"]
