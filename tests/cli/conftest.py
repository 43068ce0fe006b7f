import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.app import App
from holdfast.cli import main
from holdfast.events import Events
from holdfast.retry import Retry

PROGRAM = [sys.executable, "-c", "from holdfast.cli import main; main(prog_name='holdfast')"]


class Answer:
    """What a command said, and how it ended."""

    def __init__(self, result):
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def document(self):
        return json.loads(self.out)

    @property
    def complaint(self):
        """The one line of a command that failed."""
        assert self.code == 1, (self.code, self.out, self.err)
        [line] = self.err.splitlines()
        assert line.startswith("holdfast: ")
        return line

    @property
    def misuse(self):
        """What was wrong with the command line."""
        assert self.code == 2, (self.code, self.out, self.err)
        return self.err.partition("Error: ")[2]


@pytest.fixture
def holdfast(monkeypatch):
    """Runs a command line in this process, away from any terminal."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)

    def run(*args):
        return Answer(
            CliRunner().invoke(main, [str(arg) for arg in args], prog_name="holdfast", catch_exceptions=False)
        )

    return run


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def app(url):
    """An App on the store with a task that fails for user 13, and works otherwise."""
    app = App(url, events=Events(logger=None))

    @app.task(name="mail.send", queue="mail", retry=Retry(attempts=1), result=3600)
    def send(user: int, template: str = "plain") -> str:
        if user == 13:
            raise ValueError("no user 13")
        return f"{template} to {user}"

    yield app
    app.close()


@pytest.fixture
def send(app):
    return app.tasks["mail.send"]


@pytest.fixture
def work(app):
    """Works until nothing is left to do."""

    def work():
        with app.worker(drain=True) as worker:
            return worker.join()

    return work


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The directory where a newcomer's module lies; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def write(name, source):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
        return file

    yield write
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


def on_terminal(args, *, answer="", columns=200):
    """Run a command line as a process whose terminal shows everything; return what it shows and its exit code."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen([*PROGRAM, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # the last process at the other end has gone
        pass
    os.close(ours)
    return shown.decode(), process.wait()
