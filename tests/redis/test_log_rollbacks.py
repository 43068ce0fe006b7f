"""Logs whose servers go back again and again, at any moment: every message that is there was handled by every group.

A life is a random row of appends, polls, commits, seeks, changed settings and losses, made from its seed. A loss takes
a partition, the log's slot, groups with all that lies beside logs, or everything back to an earlier moment, or empties
a partition or the log's slot; others may append before those who knew the old servers see that their connections
broke. In the end each group reads on: what it passed without having polled and committed that very message is a
finding.
"""

import itertools
import random
from contextlib import ExitStack, closing

import pytest

from holdfast.config import LogSettings, parse_url
from holdfast.errors import LeaseLost
from holdfast.heartbeat import this_process
from holdfast.logged import Columns, Offset, Start
from holdfast.stores import open_logs
from holdfast.testing.conformance.cases import beside
from tests.disk.layers import seeds, share
from tests.redis.programs import until

LOG = "events"
PARTITIONS = 2
pytestmark = pytest.mark.filterwarnings("ignore:.*keeps nothing on its disk:RuntimeWarning")


@share(100, 10_000)
def test_every_message_that_is_there_was_handled_whatever_servers_lost(redis_place, cases, record_property):
    for seed in seeds(cases, record_property):
        with closing(Life(redis_place, random.Random(seed))) as life:
            life.go_on(life.random.randint(10, 60))
            assert life.passed_over() == {group: set() for group in life.groups}, life.told()


class Life:
    """A log, who appends to it, and two groups of one member each. ``trace`` is what happened."""

    def __init__(self, place, chance):
        self.place, self.random, self.trace = place, chance, []
        self._stack = ExitStack()
        self._url = f"{place.url}?prefix={place.prefix}"
        self._server = self._open().places.link
        self._keys = f"{place.prefix}*"
        self._numbers = itertools.count()
        self.appending, self.reading = self._open(), self._open()
        self._settings = LogSettings(partitions=PARTITIONS)
        for logs in (self.appending, self.reading):
            logs.declare(LOG, self._settings)
        self.groups = {name: Reading(self, name) for name in ("one", "two")}
        self._earlier = [self._saved()]

    def _open(self):
        logs = open_logs(parse_url(self._url))
        self._stack.callback(logs.close)
        return logs

    def close(self):
        self._stack.close()
        self.place.ask("FLUSHDB")

    def told(self):
        return "\n".join(map(str, self.trace))

    # -- what happens -------------------------------------------------------------------------------------------------

    def go_on(self, steps):
        anything = [
            self.append,
            self.poll,
            self.wait,
            self.commit,
            self.finish_some,
            self.remember,
            self.lose,
            self.open_anew,
            self.change_settings,
            self.seek,
        ]
        for step in self.random.choices(anything, [12, 10, 4, 8, 3, 4, 4, 1, 1, 1], k=steps):
            step()

    def append(self, logs=None):
        logs = logs or self.random.choice([self.appending, self.reading])
        partition = self.random.randrange(PARTITIONS)
        bodies = [b"%d" % next(self._numbers) for _ in range(self.random.randint(1, 3))]
        stored = logs.append(LOG, partition, Columns(bodies))
        self.trace.append(("append", partition, stored.offset, bodies))

    def poll(self):
        self._any().poll(self.random.randint(1, 5))

    def wait(self):
        """Append while a member waits."""
        polling = beside(lambda group=self._any(): group.poll(5, wait=0.1))
        self.append()
        polling.result(10)

    def commit(self):
        self._any().commit()

    def finish_some(self):
        self._any().finish_some()

    def open_anew(self):
        self.appending = self._open()
        self.appending.declare(LOG, self._settings)
        self.trace.append(("open anew",))

    def change_settings(self):
        limit = self.random.choice([None, 1 << 20, 1 << 21])
        self._settings = LogSettings(partitions=PARTITIONS, limit_bytes=limit)
        self.appending.declare(LOG, self._settings)
        self.trace.append(("change settings", self._settings))

    def seek(self):
        self._any().seek(self.random.randrange(PARTITIONS))

    def _any(self):
        return self.random.choice(list(self.groups.values()))

    # -- losses -------------------------------------------------------------------------------------------------------

    def remember(self):
        self._earlier.append(self._saved())

    def lose(self):
        which = self.random.choice(["partition", "slot", "groups", "all", "partition for good", "slot for good"])
        moment = self.random.randrange(len(self._earlier))
        keys = self.appending.places.keys
        slots = {
            "partition": f"{keys.part(LOG, self.random.randrange(PARTITIONS))}:".encode(),
            "slot": f"{keys.log(LOG)}:".encode(),
        }
        self.trace.append(("lose", which, moment, slots))
        slot = slots.get(which.removesuffix(" for good"))
        if which.endswith("for good"):
            self._put_back({}, lambda key: key.startswith(slot))
            self._earlier = [self._saved()]
        else:
            wanted = {"groups": self._is_of_groups, "all": lambda key: True}
            self._put_back(self._earlier[moment], wanted.get(which, lambda key: key.startswith(slot)))
            del self._earlier[moment + 1 :]
        for _ in range(self.random.choice([0, 0, 1, 2])):
            other = self._open()
            if self.random.random() < 0.5 or not self._ask("EXISTS", f"{keys.log(LOG)}:log"):
                other.declare(LOG, self._settings)
            self.append(other)
        self._break_connections()

    def _is_of_groups(self, key):
        return not any(
            key.startswith(f"{self.appending.places.keys.part(LOG, i)}:".encode()) for i in range(PARTITIONS)
        )

    def _saved(self):
        return {key: self._ask("DUMP", key) for key in self._ask("KEYS", self._keys)}

    def _put_back(self, copies, wanted):
        for key in filter(wanted, self._ask("KEYS", self._keys)):
            self._ask("DEL", key)
        for key in filter(wanted, copies):
            self._ask("RESTORE", key, 0, copies[key])

    def _ask(self, *command):
        return self._server.call(self.place.prefix, command)[0]

    def _break_connections(self):
        self.place.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        links = [self._server, self.appending.places.link, self.reading.places.link]
        until(
            lambda: not any(one.is_fresh for link in links for one in itertools.chain(*link._idle.values())), "breaks"
        )

    # -- the end ------------------------------------------------------------------------------------------------------

    def passed_over(self):
        """Let each group read on to the end; return what it passed that is there and that it has not handled."""
        for group in self.groups.values():
            group.commit()
            while group.poll(100) or group.poll(100):
                group.commit()
        there = set()
        for one in self.appending.ends(LOG):
            offset = one.first
            while chunks := self.appending.read(LOG, one.partition, offset, limit=1000, max_bytes=1 << 20):
                there.update(body for chunk in chunks for body in chunk.bodies)
                offset = chunks[-1].next
        return {name: there - group.handled for name, group in self.groups.items()}


class Reading:
    """The one member of a group. ``handled`` is what it polled, and then committed or finished beyond its place."""

    def __init__(self, life, name):
        self._name, self._trace = name, life.trace
        self._logs = life.reading
        self._member = self._logs.join(LOG, name, this_process(name), start=Start("latest"), when_gone="earliest")
        self._in_hand = {}
        self.handled = set()

    def poll(self, limit, wait=0):
        chunks = self._member.poll(limit=limit, wait=wait)
        self._trace.append(("poll", self._name, chunks))
        for chunk in chunks:
            version, messages = self._in_hand.get(chunk.partition, (chunk.version, {}))
            if version != chunk.version:
                messages = {}
            messages |= dict(zip(itertools.count(chunk.base), chunk.bodies))
            self._in_hand[chunk.partition] = chunk.version, messages
        return chunks

    def commit(self):
        """Commit what is in hand, each partition by itself; what is refused is delivered again."""
        for partition, (version, messages) in self._in_hand.items():
            self._commit(Offset(partition, max(messages) + 1, version), messages)
        self._in_hand.clear()

    def finish_some(self):
        """Finish what is in hand but for the first message of each partition, and keep it all in hand."""
        for partition, (version, messages) in list(self._in_hand.items()):
            first, *others = messages
            if not self._commit(
                Offset(partition, first, version, tuple(others)), {one: messages[one] for one in others}
            ):
                del self._in_hand[partition]

    def seek(self, partition):
        """Back to the first message there is."""
        first = self._logs.ends(LOG)[partition].first
        self._logs.seek(LOG, self._name, {partition: first})
        self._trace.append(("seek", self._name, partition, first))

    def _commit(self, offset, messages):
        """True, and the messages are handled that others have not finished, unless the partition is lost."""
        place = self._member.assigned()[offset.partition].place
        try:
            self._member.commit([offset])
        except LeaseLost:
            self._trace.append(("lost", self._name, offset))
            return False
        self._trace.append(("commit", self._name, offset))
        finished = place.finished if place.version == offset.version else ()
        self.handled.update(body for one, body in messages.items() if one not in finished)
        return True
