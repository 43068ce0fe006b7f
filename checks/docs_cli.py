"""The reference of the command line, from the commands themselves."""

from collections.abc import Iterator

import click

from checks.docs_text import code, table
from holdfast.cli import main


def cli() -> str:
    """Return every command with its arguments and options."""
    return "\n\n".join(_commands(main, "holdfast"))


def _commands(command: click.Command, name: str) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    if isinstance(command, click.Group):
        for further in command.list_commands(context):
            found = command.get_command(context, further)
            assert found is not None
            yield from _commands(found, f"{name} {further}")
        return
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield f"## {name}"
    yield code(usage)
    yield "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    yield table(["option", "", "default"], [_row(option) for option in options if "--help" not in option.opts])


def _row(option: click.Option) -> list[str]:
    names = ", ".join(sorted(option.opts, key=len))
    kind = "" if option.is_flag else f" {option.metavar or option.type.name.upper().replace(' RANGE', '')}"
    shown = "" if not option.show_default or option.default is None else code(option.default)
    return [code(names + kind), option.help or "", shown]
