"""Where our programs open the log they measure."""

from benchmarks.job import Request
from benchmarks.ours.places import VERSION
from holdfast.config import LogSettings, parse_url
from holdfast.contract import LogBackend
from holdfast.stores import open_logs

__all__ = ["LOG", "SYNCS", "VERSION", "log_in"]

LOG = "measured"
SYNCS = {
    "always": "fdatasync before an append returns",
    "interval": "fdatasync every 0.1 s or 1 MiB",
    "os": "no sync but at a segment's end",
}


def log_in(asked: Request, sync: str = "always", name: str = "data") -> LogBackend:
    """A store of logs in a directory of this name, with one log in it."""
    logs = open_logs(parse_url(f"disk:{asked.directory}/{name}-{sync}?sync={sync}"))
    logs.declare(LOG, LogSettings(keep_for=None))
    return logs
