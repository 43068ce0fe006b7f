"""What every command has in common: help, tables, times, and what is not imported."""

import importlib
import subprocess
import sys

import pytest

import holdfast as package
from holdfast.cli import COMMANDS, main, output
from holdfast.cli.output import Table, iso, length
from tests.cli.conftest import on_terminal


def test_help_lists_every_command_with_the_first_sentence_of_its_own_help(holdfast):
    said = " ".join(holdfast("--help").out.split())

    for name, summary in COMMANDS.items():
        command = main.get_command(None, name)
        assert f"{name} {summary}" in said
        assert command.help.startswith(summary)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_help(holdfast, name):
    command = main.get_command(None, name)
    commands = getattr(command, "commands", {None: command})

    for verb in commands:
        words = [name] if verb is None else [name, verb]
        assert "--json" in holdfast(*words, "--help").out


def test_the_version_is_printed(holdfast):
    assert holdfast("--version").out == f"holdfast {package.__version__}\n"


@pytest.mark.slow
def test_help_imports_neither_stores_nor_anything_else_that_takes_time():
    program = "import sys; from holdfast.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.splitlines()[-1].split())

    late = {"asyncio", "apsw", "sqlite3", "msgspec", "rich", "logging", "importlib.metadata", "json", "ssl"}
    ours = {"holdfast.app", "holdfast.stores", "holdfast.worker", "holdfast.contract", "holdfast.demo"}
    assert "holdfast.cli" in imported
    assert imported & (late | ours) == set()


@pytest.mark.slow
def test_looking_at_a_store_imports_no_worker_and_no_other_store(url, send):
    send.enqueue(1)
    program = (
        "import sys; from holdfast.cli import main;"
        f"main(['queues', 'list', '--url', {url!r}], standalone_mode=False); print(*sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.splitlines()[-1].split())

    assert "holdfast.stores.sqlite" in imported
    assert imported & {"holdfast.app", "holdfast.worker", "holdfast.stores.memory", "asyncio", "rich"} == set()


# -- tables -----------------------------------------------------------------------------------------------------


def test_a_plain_table_aligns_words_to_the_left_and_numbers_to_the_right():
    table = Table(["name", "jobs"], [["a", 1], ["longer", 1000], ["b", None]])

    assert Table(["name", "jobs"], [["a", 1], ["longer", 1000]]).plain() == [
        "NAME    JOBS",
        "a          1",
        "longer  1000",
    ]
    assert table.plain()[-1] == "b"


def test_a_plain_table_is_cut_where_the_terminal_ends():
    assert Table(["text"], [["a" * 30]]).plain(width=10) == ["TEXT", "aaaaaaaaa…"]


def test_a_cell_is_one_line_and_harmless():
    assert Table(["text"], [["two\nlines\x1b[31m"]]).plain() == ["TEXT", "two lines?[31m"]


@pytest.mark.slow
def test_a_terminal_shows_whole_ids_and_cuts_the_rest(url, send):
    pytest.importorskip("rich")
    job = send.using(queue="q" * 50).enqueue(1)

    shown, code = on_terminal(["jobs", "list", "--url", url], columns=90)

    assert code == 0
    assert job.id in shown
    assert "…" in shown


def test_without_rich_a_terminal_gets_the_plain_table(monkeypatch, capsys):
    monkeypatch.setattr(output, "find_spec", lambda name: None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "12")

    output.Output().answer({}, Table(["text"], [["a" * 30]]))

    assert capsys.readouterr().out == "TEXT\naaaaaaaaaaa…\n"


# -- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "0.0123 s"), (90, "90 s"), (60, "1 min"), (150, "2.5 min"), (3600, "1 h"), (86_400, "1 d"), (None, None)],
)
def test_lengths_are_told_in_the_unit_that_suits_them(seconds, text):
    assert length(seconds) == text


def test_instants_are_told_in_utc():
    assert iso(1_700_000_000_123) == "2023-11-14T22:13:20.123Z"
    assert iso(None) is None


def test_the_module_of_every_command_is_called_as_the_command():
    for name in COMMANDS:
        assert importlib.import_module(f"holdfast.cli.{name}")
