"""``holdfast doctor``: what an operator should know of a store, and what to do about it."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from holdfast.capabilities import Doctor, Finding
from holdfast.cli.options import json_option, opened
from holdfast.cli.output import Output, Table, count


@click.command()
@click.argument("store", metavar="[URL|APP]", required=False)
@json_option
@click.pass_context
def doctor(context: click.Context, store: str | None, out: Output) -> None:
    """Examine a store, and say what to do about what is found.

    It is named by a URL, sqlite:///jobs.db, or by its App, package.module:app. Changes no job. Exit code 1 when an
    error was found; warnings leave it 0.
    """
    url, app = (None, store) if store is not None and _is_app(store) else (store, None)
    with opened(url, app, shared=False) as (backend, _):
        if not isinstance(backend, Doctor):
            name = type(backend).__name__
            out.answer({"findings": None}, f"{name} cannot be examined: it has no doctor")
            return
        findings = backend.examine()
    errors = sum(finding.level == "error" for finding in findings)
    out.answer({"findings": [_document(finding) for finding in findings], "errors": errors}, *_shown(findings))
    if errors:
        context.exit(1)


def _is_app(text: str) -> bool:
    """Tell ``package.module:app`` from a URL."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def _document(finding: Finding) -> dict[str, Any]:
    return msgspec.structs.asdict(finding)


def _shown(findings: list[Finding]) -> list[str | Table]:
    table = Table(["", "found"], [[finding.level, finding.what] for finding in findings])
    troubles = [finding for finding in findings if finding.level != "ok"]
    said = [f"\n{one.level}: {one.what}\n  why   {one.why}\n  do    {one.advice}" for one in troubles]
    number = {level: sum(one.level == level for one in findings) for level in ("warn", "error")}
    return [table, *said, f"\n{count(number['error'], 'error')}, {count(number['warn'], 'warning')}"]
