"""``holdfast doctor``: what an operator should know of a store, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdfast.capabilities import Doctor, Finding
from holdfast.cli.options import LOGS_VARIABLE, json_option, opened, opened_logs
from holdfast.cli.output import Output, Table, count

if TYPE_CHECKING:
    from holdfast.app import App


@click.command()
@click.argument("store", metavar="[URL|APP]", required=False)
@json_option
@click.pass_context
def doctor(context: click.Context, store: str | None, out: Output) -> None:
    """Examine a store, and say what to do about what is found.

    It is named by a URL, sqlite:///jobs.db, or by its App, package.module:app; logs that live elsewhere are examined
    too. Changes no job. Exit code 1 when an error was found; warnings leave it 0.
    """
    url, app = (None, store) if store is not None and _is_app(store) else (store, None)
    with ExitStack() as stack:
        backend, found = stack.enter_context(opened(url, app, shared=False))
        if not isinstance(backend, Doctor):
            name = type(backend).__name__
            out.answer({"findings": None}, f"{name} cannot be examined: it has no doctor")
            return
        findings = [*backend.examine(), *_elsewhere(stack, found, asked=store is not None)]
    errors = sum(finding.level == "error" for finding in findings)
    out.answer({"findings": [_document(finding) for finding in findings], "errors": errors}, *_shown(findings))
    if errors:
        context.exit(1)


def _elsewhere(stack: ExitStack, app: App | None, *, asked: bool) -> Iterator[Finding]:
    """Yield what is found in the logs, if they live in another store than the one that is examined."""
    logs: object = None
    if app is not None:
        logs = app.log_backend if app.logs_url not in (None, app.url) else None
    elif not asked and os.environ.get(LOGS_VARIABLE):
        logs = stack.enter_context(opened_logs(None, None))
    if isinstance(logs, Doctor):
        yield from logs.examine()


def _is_app(text: str) -> bool:
    """Tell ``package.module:app`` from a URL, such as ``disk:data``."""
    module, colon, attribute = text.partition(":")
    from holdfast.stores import known_schemes

    if module in known_schemes():
        return False
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def _document(finding: Finding) -> dict[str, Any]:
    return msgspec.structs.asdict(finding)


def _shown(findings: list[Finding]) -> list[str | Table]:
    table = Table(["", "found"], [[finding.level, finding.what] for finding in findings])
    troubles = [finding for finding in findings if finding.level != "ok"]
    said = [f"\n{one.level}: {one.what}\n  why   {one.why}\n  do    {one.advice}" for one in troubles]
    number = {level: sum(one.level == level for one in findings) for level in ("warn", "error")}
    return [table, *said, f"\n{count(number['error'], 'error')}, {count(number['warn'], 'warning')}"]
