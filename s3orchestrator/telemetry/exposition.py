"""
The metrics as a page: in which format, and in pieces, so that nobody waits for the whole.

With twenty backends a page is ten thousand lines, a tenth of a second's work. The library renders it in
one go; here its own encoders are given a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.samples import Sample

SLICE = 64  # samples in a piece: about a millisecond
_EOF = b"# EOF\n"
_OPENMETRICS = "application/openmetrics-text"


@frozen
class Format:
    """A format that Prometheus reads. `ending` is what the encoder ends everything with."""

    content_type: bytes
    encode: Callable[[_Slice], bytes]
    ending: bytes = b""


@frozen
class _Slice:
    """A registry that holds some samples of one metric."""

    metric: Metric

    def collect(self) -> Iterable[Metric]:
        return (self.metric,)


TEXT = Format(b"text/plain; version=0.0.4; charset=utf-8", generate_latest)
OPENMETRICS = Format(
    b"application/openmetrics-text; version=1.0.0; charset=utf-8", generate_openmetrics, _EOF
)


def negotiate(accept: str) -> Format:
    """Return what somebody who sends this `Accept` wants; plain text suits everybody."""
    wanted = {TEXT: 0.0, OPENMETRICS: 0.0}
    for choice in accept.split(","):
        media, *parameters = (part.strip().lower() for part in choice.split(";"))
        told = dict(parameter.partition("=")[::2] for parameter in parameters)
        quality = _quality(told.get("q", "1"))
        if media == _OPENMETRICS and told.get("version", "1.0.0") in ("0.0.1", "1.0.0"):
            wanted[OPENMETRICS] = max(wanted[OPENMETRICS], quality)
        elif media == "text/plain":
            wanted[TEXT] = max(wanted[TEXT], quality)
    return OPENMETRICS if wanted[OPENMETRICS] > 0 and wanted[OPENMETRICS] >= wanted[TEXT] else TEXT


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


Families = Iterable[tuple[Metric, Iterator[Sample]]]  # metrics without samples, and their samples


def pieces(families: Families, form: Format) -> Iterator[bytes]:
    """
    Yield the page, a millisecond's work at a time.

    The values of one series are of one moment, those of two need not be.
    """
    for metric, samples in families:
        header = _encode(metric, form)
        yield header
        while True:
            metric.samples = list(islice(samples, SLICE))
            if not metric.samples:
                break
            yield _encode(metric, form)[len(header) :]
    yield form.ending


def _encode(metric: Metric, form: Format) -> bytes:
    return form.encode(_Slice(metric)).removesuffix(form.ending)


def families_of(registry: CollectorRegistry) -> Iterator[tuple[Metric, Iterator[Sample]]]:
    """
    Yield each metric without samples, and its samples as they are asked for.

    What the library does in `collect`, but that makes all of a metric's samples at once: 30 ms for a
    histogram of 400 children. When a series was created, which `collect` adds to each of them, is left out.
    """
    for collector in tuple(registry._collector_to_names):
        if isinstance(collector, MetricWrapperBase):
            for metric in collector.describe():
                yield metric, _samples(collector)
        else:
            for metric in collector.collect():
                samples, metric.samples = metric.samples, []
                yield metric, iter(samples)


def _samples(collector: MetricWrapperBase) -> Iterator[Sample]:
    for sample in collector._samples():
        if sample.name != "_created":
            yield sample._replace(name=collector._name + sample.name)
