"""Groups of commands: imported when used, helpful about typos, and with one way to fail."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import IO, Any

import click

from holdfast.errors import HoldfastError, nearest


class Failure(click.ClickException):
    """What a command could not do: one line on standard error, and exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"holdfast: {self.message}", file=file, err=file is None)


class NounGroup(click.Group):
    """A group that suggests the nearest command, and ends with one line when Holdfast says why it cannot go on."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if not ctx.resilient_parsing and not args[0].startswith("-") and args[0] not in known:
            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], known)}; known: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HoldfastError as error:
            raise Failure(one_line(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output went away; click ends quietly
                raise
            raise Failure(one_line(str(error) or type(error).__name__)) from error


OWN_COMMAND_LINE = "own"
"""The ``obj`` of a command that this process was started for, and not one that a program calls: starting the process's
command line again would do the same once more.
"""


class LazyGroup(NounGroup):
    """A group whose help needs none of its commands: ``summaries`` has their names, which are modules' in ``package``.

    A module called ``jobs`` has a command called ``jobs``.
    """

    def __init__(self, *args: Any, package: str, summaries: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._package, self._summaries = package, summaries

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        return super().main(args, *rest, **{"obj": OWN_COMMAND_LINE if args is None else None} | extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._summaries:
            return None
        command: click.Command = getattr(import_module(f"{self._package}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))


def one_line(text: str) -> str:
    """Return ``text`` without line breaks, and with nothing in it that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
