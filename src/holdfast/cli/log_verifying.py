"""``holdfast logs verify`` and ``repair``: every byte read and checked, and what is damaged taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click
import msgspec

from holdfast.capabilities import Verifiable
from holdfast.cli.log_options import log_argument, log_name, on_logs
from holdfast.cli.options import yes_option
from holdfast.cli.output import Output, Part, Table, count, progress
from holdfast.cli.sizes import size
from holdfast.contract import LogBackend
from holdfast.errors import NotSupported
from holdfast.logged import Verified


@click.command()
@click.argument("names", nargs=-1, metavar="[LOG]...")
@on_logs
def verify(store: LogBackend, out: Output, names: Sequence[str]) -> None:
    """Read every byte of these logs, or of all, and check it. Exit code 1 when something is damaged.

    Queues are not looked at: holdfast doctor reads their journal.
    """
    verifiable = _verifiable(store)
    meant = [log_name(store, name) for name in names] or list(store.logs())
    found = {name: _through(verifiable.verify, store, name) for name in meant}
    damages = sum(len(one.damages) for one in found.values())
    shown = [part for name, one in found.items() for part in _shown(name, one)]
    if not names:
        shown.append("logs only: the journal of queues in this directory is read by holdfast doctor")
    documents = {name: msgspec.to_builtins(one) for name, one in found.items()}
    out.answer({"logs": documents, "damages": damages}, *(shown if found else ["this store has no logs yet", *shown]))
    if damages:
        click.get_current_context().exit(1)


@click.command()
@log_argument
@click.option("--skip", is_flag=True, help="Go on behind what is damaged; without it nothing is done.")
@yes_option
@on_logs
def repair(store: LogBackend, out: Output, log: str, *, skip: bool, yes: bool) -> None:
    """Take out of a log what is damaged, for good, so that its readers go on behind it.

    The damaged bytes are kept in files beside the log's; their offsets stay empty. No program may be appending.
    """
    if not skip:
        raise click.UsageError(
            "Say --skip to give up what is damaged. If there is a copy of the file, restore that instead; "
            "holdfast logs verify names it."
        )
    verifiable = _verifiable(store)
    seen = _through(verifiable.verify, store, log_name(store, log))
    if seen.damages:
        lost = sum(one.next - one.first for one in seen.damages)
        out.confirm(f"this gives up {count(lost, 'message')} of {log}, {_offsets(seen)}", yes=yes)
    done = _through(verifiable.repair, store, log) if seen.damages else seen
    given_up = f"{count(done.messages, 'message')} of {log} given up, {size(done.bytes)}"
    kept = [f"  kept in {path}" for path in done.kept]
    document = {"log": log, **msgspec.to_builtins(done)}
    out.answer(document, given_up if done.damages else f"nothing is damaged in {log}", *kept)


def _verifiable(store: LogBackend) -> Verifiable:
    if isinstance(store, Verifiable):
        return store
    raise NotSupported("these logs have no checksums of their own; holdfast doctor examines the store that they are in")


def _through(act: Callable[..., Verified], store: LogBackend, name: str) -> Verified:
    """Do what takes long, with a bar."""
    done = 0
    with progress(name, sum(one.bytes for one in store.ends(name))) as bar:

        def tell(read: int, of: int) -> None:
            nonlocal done
            bar.update(max(0, read - done))
            done = max(done, read)

        return act(name, tell)


def _shown(name: str, found: Verified) -> list[Part]:
    good = f"{name}: {count(found.messages, 'message')}, {size(found.bytes)}"
    notes = [f"  {note}" for note in found.notes]
    if not found.damages:
        return [f"{good}, intact", *notes]
    rows = [[one.partition, _span(one.first, one.next), _span(one.begin, one.end), one.path] for one in found.damages]
    return [f"{good}, damaged:", Table(["partition", "offsets", "bytes", "file"], rows), *notes]


def _span(first: int, end: int) -> str:
    return f"{first} to {end - 1}" if first < end else "none"


def _offsets(found: Verified) -> str:
    """Name the offsets that are lost; damaged bytes between messages held none."""
    held = [one for one in found.damages if one.first < one.next]
    named = ", ".join(f"{_span(one.first, one.next)} of partition {one.partition}" for one in held)
    return f"offsets {named}" if named else "none of its offsets"
