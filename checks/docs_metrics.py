"""The table of metrics, from the collectors themselves."""

from collections.abc import Iterable
from typing import NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from checks.docs_text import code, markdown, table
from holdfast.clock import SYSTEM
from holdfast.events import LOGGER
from holdfast.metrics.asking import StoreCollector
from holdfast.metrics.counting import Counting


def metrics() -> str:
    """Return every metric with its type and labels: those of this process, then those asked of the store."""
    registry = CollectorRegistry()
    counting = Counting(registry, SYSTEM)
    labels = {one._name: one._labelnames for one in vars(counting).values() if hasattr(one, "_labelnames")}
    for group in vars(counting).values():
        if isinstance(group, dict):
            labels |= {one._name: one._labelnames for one in group.values() if hasattr(one, "_labelnames")}
    here = _rows(registry.collect(), labels)
    gauges = StoreCollector(_nobody, _nobody, list, LOGGER).describe()
    asked = _rows(gauges, {one.name: one._labelnames for one in gauges})
    head = ["metric", "type", "labels", "what"]
    return f"## What happened in the processes that are scraped\n\n{table(head, here)}\n\n" + (
        f"## What the store says when it is scraped\n\n{table(head, asked)}"
    )


def _nobody() -> NoReturn:
    raise AssertionError("describing asks nobody")


def _rows(families: Iterable[Metric], labels: dict[str, Iterable[str]]) -> list[list[str]]:
    return [
        [
            code(f"{one.name}_total" if one.type == "counter" else one.name),
            one.type,
            ", ".join(map(code, labels[one.name])) or "–",
            markdown(one.documentation),
        ]
        for one in families
    ]
