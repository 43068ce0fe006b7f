"""Prometheus metrics of an App: what happened here, from its events, and how its queues and logs stand, as stores say.

Needs the extra ``metrics``, which brings ``prometheus-client``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from holdfast.errors import UsageError

try:
    import prometheus_client
except ImportError as missing:
    raise UsageError("metrics need prometheus-client: pip install 'holdfast[metrics]'") from missing

from holdfast.metrics.asking import StoreCollector
from holdfast.metrics.counting import Counting
from holdfast.metrics.sharing import shared_samples

if TYPE_CHECKING:
    from holdfast.app import App

__all__ = ["Metrics"]


class Metrics:
    """Counts what happens to jobs in this process from now on, and asks the App's store when somebody scrapes.

    The metrics belong to ``registry``: one of their own, or a program's, such as ``prometheus_client.REGISTRY``, which
    has its endpoint already. An App has one ``Metrics``, and a registry those of one App; a second one is a
    ``UsageError``. Its methods may be called from any thread.

    With ``$PROMETHEUS_MULTIPROC_DIR``, which has to be set before ``prometheus_client`` is imported, counts are those
    of all processes that share the directory, and ``text`` is what to serve: a registry knows only its own process.
    """

    _of: ClassVar[WeakKeyDictionary[App, Metrics]] = WeakKeyDictionary()

    def __init__(self, app: App, registry: prometheus_client.CollectorRegistry | None = None) -> None:
        if app in self._of:
            raise UsageError(f"{app!r} has its metrics already: Metrics.of(app) returns them")
        self.registry = prometheus_client.CollectorRegistry() if registry is None else registry
        self._asking = StoreCollector(
            lambda: app.backend, lambda: app._logs.open_store, app._consumers.streams, app.events.logger
        )
        try:
            self.registry.register(self._asking)
            counting = Counting(self.registry, app._life.clock)
        except ValueError as error:
            raise UsageError(
                f"this registry has the metrics of another App ({error}); give each App a registry of its own: "
                "Metrics(app, registry=CollectorRegistry())"
            ) from error
        counting.listen_to(app.events)
        self._of[app] = self

    @classmethod
    def of(cls, app: App) -> Metrics:
        """Return the metrics of this App; if it has none yet, new ones in the registry of the whole process."""
        return cls._of.get(app) or cls(app, prometheus_client.REGISTRY)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format. Blocks for a look into the store, at most two seconds: one
        that does not answer is ``holdfast_store_up 0``, and its gauges are left out.
        """
        shared = shared_samples()
        if shared is None:
            return prometheus_client.generate_latest(self.registry)
        shared.register(self._asking)
        return prometheus_client.generate_latest(shared)
