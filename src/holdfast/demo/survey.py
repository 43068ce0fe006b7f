"""The demo's one task: parse a Python file, and count its lines, names and imports."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from holdfast.app import App
from holdfast.retry import Retry
from holdfast.tasks.task import Task
from holdfast.worker import CONTEXT, Context

QUEUE = "files"
ATTEMPTS = 3
KEPT = 3600.0


class Survey(msgspec.Struct, frozen=True):
    """What one file holds. ``imports`` counts imported modules by their first name, relative ones under ``.``."""

    lines: int
    names: int
    imports: dict[str, int]


class Faulty(Exception):
    """The demo fails on purpose."""


def survey_file(path: str, fail: int = 0, *, ctx: Context = CONTEXT) -> Survey:
    """Survey the file at ``path``; fail on purpose in the first ``fail`` attempts."""
    if ctx.attempt <= fail:
        raise Faulty(f"attempt {ctx.attempt} of {path} fails on purpose")
    return survey(Path(path).read_bytes())


def survey(source: bytes) -> Survey:
    """Count what is in the source of one file; of one that does not parse, the lines."""
    names, imports = 0, Counter[str]()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # ValueError: null bytes, until 3.11.4
        tree = ast.Module([], [])
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names += 1
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imports["." if node.level else (node.module or "").partition(".")[0]] += 1
    return Survey(source.count(b"\n"), names, dict(imports))


def add_up(surveys: Iterable[Survey]) -> Survey:
    """Return the sum of surveys."""
    lines, names, imports = 0, 0, Counter[str]()
    for one in surveys:
        lines, names = lines + one.lines, names + one.names
        imports.update(one.imports)
    return Survey(lines, names, dict(imports.most_common()))


def declare(app: App) -> Task[..., Survey]:
    """Make it a task of ``app``: three attempts, short waits, and a result that is kept for an hour."""
    retry = Retry(attempts=ATTEMPTS, base=0.2, jitter="none")
    return app.task(name="holdfast.demo.survey", queue=QUEUE, retry=retry, result=KEPT)(survey_file)
