"""Tables of stores, states, errors and events, from the code that has them."""

import inspect
import re
from collections.abc import Iterator, Mapping

from checks.docs_text import code, markdown, size, summary, table
from holdfast import capabilities as powers
from holdfast import errors as error_module
from holdfast import events as event_module
from holdfast.config import parse_url
from holdfast.contract import Features, LogBackend, QueueBackend, StreamGroups
from holdfast.delivery import State
from holdfast.errors import ConfigError, HoldfastError, Signal
from holdfast.machine import MOVES
from holdfast.message import Level
from holdfast.stores import BUILT_IN, open_store

URLS = {"memory": "memory:", "disk": "disk:data", "sqlite": "sqlite:///jobs.db", "redis": "redis://host"}
"""One URL a store; some stores answer to several schemes."""
YES, NO = "●", "–"


def stores() -> dict[str, QueueBackend]:
    """Return every built-in store, open but untouched, by scheme."""
    assert {BUILT_IN[scheme] for scheme in URLS} == set(BUILT_IN.values()), "checks/docs_tables.py lacks a store"
    return {scheme: open_store(parse_url(url)) for scheme, url in URLS.items()}


# -- stores ---------------------------------------------------------------------------------------------------


def promises() -> str:
    """Return what each store promises, from its ``Features`` and those of its logs."""
    opened = stores()
    queues = [store.features for store in opened.values()]
    logs = [logs.features if (logs := _logs(store)) is not None else None for store in opened.values()]
    weaker = open_store(parse_url("sqlite:///jobs.db?sync=normal")).features.level
    rows = [
        ["a send, and an append, on return, is", *(_levels(*both) for both in zip(queues, logs, strict=True))],
        ["both survive the end of the process", *(_mark(one.durable) for one in queues)],
        ["both survive a power cut", *(_mark(_survives(one)) for one in queues)],
        ["queues from several processes", *(_mark(one.multi_process) for one in queues)],
        ["logs from several processes", *map(_sharing, logs)],
        ["several machines", *(_mark(one.multi_host) for one in queues)],
        [
            "sends and acks in transactions of your own",
            *(_mark(_has(store, powers.Transactional)) for store in opened.values()),
        ],
        [
            "streams that other programs fill",
            *(_mark(_has(store, powers.ForeignStreams)) for store in opened.values()),
        ],
        ["every other optional power", *(_mark(_all_powers(store)) for store in opened.values())],
        ["largest body the store can hold", *(size(one.max_body) for one in queues)],
    ]
    note = (
        f"With `?sync=normal` a send to SQLite is {code(weaker)}: {markdown(_LEVELS[weaker])}\n\nOn Redis "
        "and Valkey the servers' settings decide; with `?wait=1` a send is `replicated`: a failover does not lose "
        "it;\nwith `?fsync=1` it is `synced`."
    )
    return table(["", *(code(URLS[scheme]) for scheme in opened)], rows) + f"\n\n{note}"


def _logs(store: QueueBackend) -> LogBackend | None:
    return store.open_logs() if isinstance(store, powers.Logs) else None


def _parts(store: QueueBackend) -> list[object]:
    """Return the store, and what it opens: powers are of one of them."""
    streams = store.open_streams() if isinstance(store, powers.ForeignStreams) else None
    return [part for part in (store, _logs(store), streams) if part is not None]


def _levels(queues: Features, logs: Features | None) -> str:
    levels = dict.fromkeys([queues.level] if logs is None else [queues.level, logs.level])
    return ", ".join(map(code, levels))


def _sharing(logs: Features | None) -> str:
    if logs is None or not logs.multi_process:
        return NO
    return "one appends, all read" if logs.one_writer else YES


_LEVELS = {
    Level.MEMORY: "it is gone when the process ends.",
    Level.WRITTEN: "it survives the end of the process, not of the machine.",
    Level.SYNCED: "it is on the disk.",
}


def _survives(features: Features) -> bool:
    return features.durable and features.level in (Level.SYNCED, Level.REPLICATED)


def _mark(promise: bool) -> str:
    return YES if promise else NO


def _powers() -> dict[str, type]:
    found = vars(powers).items()
    return {name: power for name, power in found if getattr(power, "_is_runtime_protocol", False)}


def _has(store: QueueBackend, power: type) -> bool:
    """Tell whether the store has this power, or its logs or streams have."""
    return any(isinstance(part, power) for part in _parts(store))


def _all_powers(store: QueueBackend) -> bool:
    """Tell whether the store has all powers of queues, but for those which have a row of their own."""
    rare = (powers.Transactional, powers.ForeignStreams, StreamGroups, powers.Verifiable)
    return all(_has(store, power) for power in _powers().values() if power not in rare)


def capabilities() -> str:
    """Return which store has which power, from the Protocols that it inherits."""
    opened = stores()
    rows = [["`QueueBackend`", "A store that holds queues.", _verbs(QueueBackend), *(YES for _ in opened)]]
    for name, power in _powers().items():
        marks = [_mark(_inherits(store, power)) for store in opened.values()]
        rows.append([code(name), summary(power), _verbs(power), *marks])
    return table(["power", "", "verbs", *opened], rows)


def _inherits(store: QueueBackend, power: type) -> bool:
    return any(power in type(part).__mro__ for part in _parts(store))


def _verbs(power: type) -> str:
    return ", ".join(code(name) for name, value in vars(power).items() if inspect.isfunction(value) and name[0] != "_")


_OPTIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "memory": {
        "max_jobs": ("1 000 000", "how many jobs it holds; beyond, sends raise `QueueFull`"),
        "max_bytes": ("1 GiB", "how many bytes of bodies its queues hold; beyond, sends raise `QueueFull`"),
        "max_log_bytes": ("1 GiB", "how many bytes its logs hold; beyond, appends raise `QueueFull`"),
    },
    "disk": {
        "segment": ("`256MiB`", "how large a file of a log, or of the queues' journal, becomes"),
        "sync": (
            "`always`",
            "`always`: a send waits for the disk; `interval`: it is there 100 ms later; `os`: when the system sees fit",
        ),
    },
    "sqlite": {
        "busy": ("`30`", "seconds to wait while other processes write"),
        "driver": ("`apsw`", "`apsw`, or `sqlite3` for the standard library's SQLite"),
        "sync": ("`full`", "`full`: a send waits for the disk; `normal`: for the operating system"),
    },
    "redis": {
        "ca": ("", "file of the authorities that sign the servers' certificates; the system's by default"),
        "cert": ("", "file of the certificate that this client shows"),
        "connect_timeout": ("`5`", "seconds to wait for a connection"),
        "db": ("`0`", "number of the database; also the path of the URL"),
        "fsync": ("`0`", "`1`: a send waits until it is on the server's disk (Redis and Valkey from 7.2 on)"),
        "key": ("", "file of the key of `cert`"),
        "name": ("`holdfast`", "what the connections are called in `CLIENT LIST`"),
        "prefix": ("`holdfast:`", "what every key begins with"),
        "sentinel_password": ("", "password that Sentinels ask for"),
        "sentinel_user": ("", "user that Sentinels ask for"),
        "timeout": ("`10`", "seconds to wait for an answer"),
        "verify": ("`1`", "`0`: takes any certificate"),
        "wait": ("`0`", "how many replicas must have a send before it returns"),
    },
}


def url_options() -> str:
    """Return the options of each store's URL: names as the store itself tells them, meanings as typed here."""
    rows = []
    for scheme, url in URLS.items():
        for name in _known_options(scheme):
            assert name in _OPTIONS[scheme], f"write a sentence for option {name} of {scheme} in checks/docs_tables.py"
            default, meaning = _OPTIONS[scheme][name]
            rows.append([code(url), code(name), default, meaning])
    return table(["store", "option", "default", ""], rows)


def _known_options(scheme: str) -> list[str]:
    try:
        open_store(parse_url(f"{URLS[scheme]}?no-such-option=1"))
    except ConfigError as error:
        found = re.search(r"known: (.+)$", str(error))
        return found[1].split(", ") if found else []
    raise AssertionError(f"{scheme} takes any option")


# -- states and moves -----------------------------------------------------------------------------------------

_STATES = {
    State.SCHEDULED: "waits for its time: sent with a delay, or for a retry",
    State.READY: "may be leased; with a key perhaps held, behind the head of its key",
    State.RUNNING: "leased by a living holder",
    State.DONE: "acknowledged",
    State.DEAD: "given up, with a reason: a dead letter",
    State.CANCELLED: "cancelled before or while it ran",
    State.EXPIRED: "its expiry passed before it was leased",
}

_VERBS = {
    "send": "a message is stored: `scheduled` with a delay, else `ready`",
    "put_dead": "a message of a log failed for good: its dead letter is stored, straight in `dead`",
    "due": "its time has come",
    "debounce": "a send with its unique key put it off, or made it due",
    "lease": "granted to a holder: token and attempts rise by one",
    "ack": "its handler returned",
    "nack": "its handler failed and attempts are left, or it asked for later; "
    "to `cancelled` when somebody had asked to cancel it",
    "give_back": "returned unstarted, the attempt not counted; to `cancelled` when somebody had asked to cancel it",
    "crash": "the process it alone ran in died; to `dead` when the attempt was the last or the crash the third; "
    "to `cancelled` when somebody had asked to cancel it",
    "take_back": "its holder ended; to `dead` when the run counted and was the last attempt or the third crash; "
    "to `cancelled` when somebody had asked to cancel it",
    "bury": "attempts used, `Bury`, an error not to be retried, or a body that cannot be decoded",
    "stop": "stopped on request, or `Cancel`",
    "cancel": "cancelled while it waited",
    "expire": "its expiry passed",
    "replay": "again as if new: attempts and crashes zero, no expiry",
    "reload": "again with exactly one more attempt, no expiry",
    "drop": "retention no longer keeps it",
    "flush": "its state was emptied",
}


def moves() -> str:
    """Return the table of legal moves, and the states."""
    verbs = {move.verb for move in MOVES}
    assert verbs == set(_VERBS), f"checks/docs_tables.py and MOVES differ in {verbs ^ set(_VERBS)}"
    rows = [[code(verb), _ends(verb, "source"), _ends(verb, "target"), meaning] for verb, meaning in _VERBS.items()]
    return table(["move", "from", "to", "when"], rows)


def _ends(verb: str, end: str) -> str:
    found = {getattr(move, end) for move in MOVES if move.verb == verb}
    named = [code(state) for state in State if state in found]
    return ", ".join([*named, *(["(nothing)"] if None in found else [])])


def states() -> str:
    """Return the states, and the diagram of the moves between them."""
    assert set(_STATES) == set(State), "checks/docs_tables.py and State differ"
    arrows: dict[tuple[str, str], list[str]] = {}
    for verb in _VERBS:
        for move in sorted((move for move in MOVES if move.verb == verb), key=str):
            arrows.setdefault((move.source or "[*]", move.target or "[*]"), []).append(verb)
    lines = [f"    {source} --> {target}: {', '.join(verbs)}" for (source, target), verbs in arrows.items()]
    diagram = "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])
    return table(["state", ""], [[code(state), text] for state, text in _STATES.items()]) + f"\n\n{diagram}"


# -- errors and events ----------------------------------------------------------------------------------------

_DO = {
    "HoldfastError": "Catch it to catch everything Holdfast raises on purpose.",
    "UsageError": "Change the call; the text names what does not fit.",
    "NotSupported": "Use another store, or do without.",
    "UnknownTask": "Import the module that declares the task; check the name.",
    "BodyTooLarge": "Store the data elsewhere and send its address, or raise the queue's `max_body`.",
    "ConfigError": "Mend the URL or setting; the text suggests the nearest known one.",
    "BackendError": "When `retryable`, try again later; after `outcome_unknown`, send again with the same ids.",
    "LeaseLost": "Stop working on the delivery: somebody else may have it. Lease again.",
    "QueueFull": "Wait `retry_after` seconds, or answer your own caller with 429.",
    "Closed": "Open the App again with `with app:`.",
    "Duplicate": "Look at the job that is there, or choose another `on_conflict`; the rest of the call is stored.",
    "Undecodable": "Look at the dead letter; deploy code that reads it, then replay.",
    "CorruptLog": "Run `holdfast logs verify`; what is intact is still served. "
    "`holdfast logs repair --skip` goes on beyond it.",
    "OffsetGone": "Decide where to go on, and `seek` the group there; keep more (`keep_for`, `until_consumed`).",
    "JobError": "The job ended without a value, or the store does not know it.",
    "JobFailed": "Read `error_type` and `traceback`; mend, then replay.",
    "JobTimedOut": "Raise the task's `timeout` or make the work smaller, then reload.",
    "JobCancelled": "Somebody cancelled it; replay if that was wrong.",
    "JobExpired": "It waited too long: more workers, or a longer `expires_in`.",
    "Signal": "Raised by handlers only.",
    "RetryLater": "Raise it in a handler.",
    "Bury": "Raise it in a handler.",
    "Cancel": "Raise it in a handler.",
}


def errors() -> str:
    """Return the tree of errors, and what to do about each."""
    found = [*_tree(HoldfastError, 0), *_tree(Signal, 0)]
    differ = {error.__name__ for error, _ in found} ^ set(_DO)
    assert not differ, f"say in checks/docs_tables.py what to do about {', '.join(sorted(differ))}"
    tree = "\n".join(f"{'    ' * depth}{error.__name__}" for error, depth in found)
    rows = [[code(error.__name__), summary(error), _DO[error.__name__]] for error, _ in found]
    return f"```\n{tree}\n```\n\n" + table(["error", "what happened", "what to do"], rows)


def _tree(error: type[BaseException], depth: int) -> Iterator[tuple[type[BaseException], int]]:
    yield error, depth
    for further in vars(error_module).values():
        if isinstance(further, type) and further.__bases__ == (error,):
            yield from _tree(further, depth + 1)


def events() -> str:
    """Return every event, with its fields."""
    found = [
        event
        for event in vars(event_module).values()
        if isinstance(event, type) and issubclass(event, event_module.Event)
    ]
    rows = []
    for event in found:
        fields = ", ".join(map(code, event.__struct_fields__)) or NO
        kind = code(event.__bases__[0].__name__) if event is not event_module.Event else ""
        rows.append([code(event.__name__), kind, fields, summary(event)])
    return table(["event", "is a", "fields", "when"], rows)
