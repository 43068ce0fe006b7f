"""A check for a store's test module: it inherits exactly the case classes that its store must pass."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.contract import QueueBackend
from holdfast.testing.conformance.cases import Cases


def check_inheritance(backend: QueueBackend, test_classes: Iterable[type]) -> None:
    """Fail unless ``test_classes`` inherit all case classes meant for this store, and none that are not.

    The powers a store inherits and the promises in its ``features`` decide; there are no skips.
    """
    inherited = {base for test_class in test_classes for base in test_class.__mro__}
    meant = {cases for cases in all_cases() if cases.meant_for(backend, backend.features)}
    missing = sorted(cases.__name__ for cases in meant - inherited)
    assert not missing, f"the store must pass these cases too: {', '.join(missing)}"
    surplus = sorted(cases.__name__ for cases in set(all_cases()) & inherited - meant)
    assert not surplus, f"the store does not have the power or promise of these cases: {', '.join(surplus)}"


def all_cases() -> list[type[Cases]]:
    """Return every case class of the suite."""
    found, new = set[type[Cases]](), [Cases]
    while new:
        new = [sub for cases in new for sub in cases.__subclasses__() if sub not in found]
        found.update(new)
    return [cases for cases in found if cases.__module__.startswith(__package__)]
