"""``holdfast worker`` at servers that are not as it expects: what no waiting mends ends it at once, in one line."""

import os
import re
import signal
import subprocess
import threading

import pytest

from holdfast.app import App
from tests.cli.conftest import PROGRAM
from tests.ports import HOST, Port

SHOP = """
from holdfast import App

app = App({url!r})

@app.task(name="hello", queue="mail", result=60)
def hello() -> str:
    return "hello"
"""
WAYS = pytest.mark.parametrize("processes", [1, 0])


@pytest.fixture
def worker(tmp_path):
    """Starts ``holdfast worker`` on a store, as a process of its own."""
    started = []

    def worker(url, *args):
        (tmp_path / "shop.py").write_text(SHOP.format(url=url))
        command = [*PROGRAM, "worker", "shop:app", *map(str, args)]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes))
        return started[-1]

    yield worker
    for process in started:
        process.kill()
        process.communicate()


REFUSED = {
    "redis://{host}": "NOAUTH .* write redis://:password@host",
    "redis://:guessed@{host}": "WRONGPASS .* look at both in the URL",
    "redis://app:word@{host}": "NOPERM .* give it ~holdfast:",
    "redis://:secret@{host}/99": "it has fewer databases",
}


@WAYS
@pytest.mark.parametrize("url", REFUSED)
def test_what_no_waiting_mends_ends_a_worker_with_one_line(redis_servers, worker, url, processes):
    user = "app on >word ~holdfast:* resetchannels +@all -eval -evalsha"
    server = redis_servers.single(password="secret", user=[user])

    process = worker(url.format(host=f"{HOST}:{server.port}"), "--processes", processes)
    _, said = process.communicate(timeout=20)

    (line,) = said.splitlines()
    assert process.returncode == 1
    assert line.startswith(f"holdfast: {HOST}:{server.port}")
    assert re.search(REFUSED[url], line)
    assert "guessed" not in line


@WAYS
def test_a_server_that_is_not_there_yet_is_waited_for_with_one_warning(redis_servers, worker, processes):
    server = redis_servers.unstarted()
    process = worker(server.url, "--processes", processes)
    waits = process.stderr.readline()

    server.start()
    with App(server.url, logger=None) as app:
        result = app.task(name="hello", queue="mail", result=60)(_hello).enqueue().result(timeout=30)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)

    assert "WARNING waiting for the store" in waits
    assert "is it running, and is this its port?" in waits
    assert [line for line in said.splitlines() if "INFO the store answers" not in line] == []
    assert (result, process.returncode) == ("hello", 0)
    assert "stopped: 1 done" in out


def _hello() -> str: ...


@WAYS
def test_a_worker_that_waits_for_its_server_ends_when_it_is_told_to(worker, processes):
    port = Port()
    process = worker(f"redis://{HOST}:{port.number}", "--processes", processes)
    process.stderr.readline()

    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)

    port.release()
    assert (process.returncode, said) == (0, "")
    assert "stopped: 0 done" in out


def test_a_warning_about_the_server_names_the_line_of_who_calls(redis_servers):
    with App(redis_servers.single().url, logger=None) as app, pytest.warns(RuntimeWarning, match="keeps nothing") as w:
        app.queue("mail").send(b"one")

    assert w[0].filename == __file__


def test_a_warning_in_a_thread_of_our_own_names_no_line_of_holdfasts(redis_servers):
    with App(redis_servers.single().url, logger=None) as app, pytest.warns(RuntimeWarning, match="keeps nothing") as w:
        in_a_thread(app.backend.queues)

    assert w[0].filename == "holdfast"


def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
