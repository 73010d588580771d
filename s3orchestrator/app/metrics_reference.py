"""The documentation of every metric, written from the declarations themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen
from prometheus_client import REGISTRY, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric

# Whatever counts something is imported by these; PostgreSQL's side only where it is used.
from s3orchestrator.app import orchestrator as _orchestrator  # noqa: F401
from s3orchestrator.store import postgres as _postgres  # noqa: F401
from s3orchestrator.telemetry.http import TRAFFIC

PREFIX = "s3o_"
_METHOD = b"GET"  # one of those whose traffic is counted: without any there are no buckets to be shown

_INTRODUCTION = """\
Metrics reference
=================

Every metric of this release, as ``telemetry.metrics`` serves them; :doc:`../operating/monitoring` says which
to watch. Counters and histograms begin at nothing when a process starts. What comes from the ledger is the
same on every instance.

Beside them are Python's and the process's own: ``process_resident_memory_bytes``,
``process_cpu_seconds_total``, ``process_open_fds``, ``process_max_fds``, ``process_start_time_seconds``,
``python_gc_collections_total`` and others.

.. list-table::
   :header-rows: 1
   :widths: 44 10 20 40

   * - Metric
     - Type
     - Labels
     - Meaning
"""


@frozen(order=True)
class Declared:
    """A metric as an operator knows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    buckets: tuple[str, ...] = ()


def declared() -> list[Declared]:
    """Return every metric of ours, by name."""
    TRAFFIC.of(_METHOD)
    return sorted(_declared())


def _declared() -> Iterator[Declared]:
    for collector in tuple(REGISTRY._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            for metric in collector.describe():
                yield from _if_ours(metric, collector._labelnames, _bounds(collector))
        else:  # one that makes its metrics when it is asked
            for metric in collector.collect():
                bounds = {float(one.labels["le"]) for one in metric.samples if "le" in one.labels}
                yield from _if_ours(metric, getattr(metric, "_labelnames", ()), sorted(bounds))


def _if_ours(metric: Metric, labels: Iterable[str], bounds: Iterable[float]) -> Iterator[Declared]:
    if metric.name.startswith(PREFIX):
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        shown = tuple(f"{bound:g}" for bound in bounds if bound != float("inf"))
        yield Declared(name, metric.type, tuple(labels), metric.documentation, shown)


def _bounds(collector: MetricWrapperBase) -> Iterable[float]:
    bounds: Iterable[float] = collector._kwargs["buckets"] if isinstance(collector, Histogram) else ()
    return bounds


def metrics_page() -> str:
    """The metrics reference, as reStructuredText."""
    return _INTRODUCTION + "".join(_row(metric) for metric in declared())


def _row(metric: Declared) -> str:
    labels = ", ".join(f"``{label}``" for label in metric.labels) or "–"
    meaning = metric.meaning
    if metric.buckets:
        meaning += f" Up to {', '.join(metric.buckets)}."
    return f"   * - ``{metric.name}``\n     - {metric.kind}\n     - {labels}\n     - {meaning}\n"
