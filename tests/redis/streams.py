"""A stream that others fill, with redis-cli where that is here, and an App whose consumers read it."""

import shutil
import subprocess

from holdfast import App

PREFIX = "hf:"


class Stream:
    """The stream ``orders`` of a place, as its owners see it."""

    name = "orders"

    def __init__(self, place):
        self.place = place
        self.url = f"{place.url}?prefix={PREFIX}"

    def add(self, entry="*", **fields):
        """Add an entry as another program would; return its id."""
        words = [word for pair in fields.items() for word in pair]
        return self.place.ask("XADD", self.name, entry, *words)

    def feed(self, lines):
        """Let redis-cli run these commands, one a line."""
        server = self.place.on
        command = [shutil.which("redis-cli"), "-s", server.socket, "-n", str(self.place.database)]
        fed = subprocess.run(command, check=False, input="\n".join(lines), text=True, capture_output=True, timeout=60)
        assert fed.returncode == 0, fed.stderr

    def pending(self, group="billing"):
        """Return the ids that are delivered and not finished."""
        return [one[0] for one in self.place.ask("XPENDING", self.name, group, "-", "+", 10_000)]

    def consumers(self, group="billing"):
        found = self.place.ask("XINFO", "CONSUMERS", self.name, group)
        return [one[one.index("name") + 1] for one in found]

    def ids(self):
        return [one[0] for one in self.place.ask("XRANGE", self.name, "-", "+")]

    def groups(self):
        found = self.place.ask("XINFO", "GROUPS", self.name) if self.place.ask("EXISTS", self.name) else []
        return [one[one.index("name") + 1] for one in found]

    def open(self, **options):
        return App(self.url, **options)
