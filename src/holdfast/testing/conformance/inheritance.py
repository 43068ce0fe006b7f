"""A check for a store's test module: it inherits exactly the case classes that its store must pass."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.capabilities import Logs
from holdfast.contract import LogBackend, QueueBackend
from holdfast.testing.conformance.cases import Cases
from holdfast.testing.conformance.logs.cases import LogCases
from holdfast.testing.conformance.meant import Meant


def check_inheritance(backend: QueueBackend | LogBackend, test_classes: Iterable[type]) -> None:
    """Fail unless ``test_classes`` inherit all case classes meant for this store, and none that are not.

    The powers a store inherits and the promises in its ``features`` decide; there are no skips. A store that holds
    logs too (``Logs``) must pass the cases of logs as well.
    """
    inherited = {base for test_class in test_classes for base in test_class.__mro__}
    meant = _meant_for(backend)
    missing = sorted(cases.__name__ for cases in meant - inherited)
    assert not missing, f"the store must pass these cases too: {', '.join(missing)}"
    surplus = sorted(cases.__name__ for cases in set(all_cases()) & inherited - meant)
    assert not surplus, f"the store does not have the power or promise of these cases: {', '.join(surplus)}"


def all_cases() -> list[type[Meant]]:
    """Return every case class of the suite, of queues and of logs."""
    return [*queue_cases(), *log_cases()]


def queue_cases() -> list[type[Meant]]:
    """Return the case classes of queues."""
    return _below(Cases)


def log_cases() -> list[type[Meant]]:
    """Return the case classes of logs."""
    return _below(LogCases)


def _meant_for(backend: QueueBackend | LogBackend) -> set[type[Meant]]:
    meant = set[type[Meant]]()
    logs = backend if isinstance(backend, LogBackend) else backend.open_logs() if isinstance(backend, Logs) else None
    if logs is not None:
        meant |= {cases for cases in log_cases() if cases.meant_for(logs, logs.features)}
    if not isinstance(backend, LogBackend):
        meant |= {cases for cases in queue_cases() if cases.meant_for(backend, backend.features)}
    return meant


def _below(root: type[Meant]) -> list[type[Meant]]:
    found, new = set[type[Meant]](), [root]
    while new:
        new = [sub for cases in new for sub in cases.__subclasses__() if sub not in found]
        found.update(new)
    return [cases for cases in found if cases.__module__.startswith(__package__)]
