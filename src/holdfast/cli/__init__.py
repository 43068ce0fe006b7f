"""The command line. Each noun has its module, and a noun's module is imported when its command is used."""

from __future__ import annotations

import click

from holdfast.cli.groups import LazyGroup

COMMANDS = {
    "worker": "Work on the queues of an App until SIGTERM or Ctrl-C.",
    "jobs": "List, show, cancel and replay jobs.",
    "queues": "List, measure, pause, reload, flush and destroy queues.",
    "logs": "List, read, append to, verify and destroy logs; look after their groups.",
    "streams": "Show how far the groups are that read streams which others fill.",
    "dead": "List, replay and purge dead letters.",
    "schedules": "List, show, pause, resume, run and remove schedules.",
    "workers": "List and show workers, and let them be quiet, work or stop.",
    "doctor": "Examine a store, and say what to do about what is found.",
    "bench": "Measure a store: enqueue one by one, enqueue in bulk, and run no-op jobs in one worker.",
    "demo": "Run one job per file of the standard library, and check that nothing was lost.",
}
"""What ``holdfast --help`` says of each command, so that it need import none of them. Each is called as its module."""


@click.group(
    cls=LazyGroup,
    package="holdfast.cli",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A store is named by --url, by the App given as --app package.module:app, or by $HOLDFAST_URL.",
)
@click.version_option(None, "-V", "--version", package_name="holdfast", message="holdfast %(version)s")
def main() -> None:
    """Hold work until it is done: background jobs on an embedded store or a server.

    Every command takes --json. Exit codes: 0 done, 1 it failed, 2 the command line is wrong.
    """
