"""All measurements, by the names that `--only` knows, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from s3orchestrator.testing.bench import (
    bodies,
    copying,
    databases,
    fairness,
    memory,
    mixed,
    multipart,
    pages,
    scale,
    small,
    workers,
)
from s3orchestrator.testing.bench.report import Figure
from s3orchestrator.testing.bench.stage import Stage


@frozen
class Measurement:
    """Something that can be measured by itself."""

    title: str
    make: Callable[[Stage], list[Figure]]


MEASUREMENTS: Mapping[str, Measurement] = {
    "small": Measurement(small.TITLE, small.small),
    "bodies": Measurement(bodies.TITLE, bodies.bodies),
    "multipart": Measurement(multipart.TITLE, multipart.multipart),
    "copying": Measurement(copying.TITLE, copying.copying),
    "pages": Measurement(pages.TITLE, pages.pages),
    "mixed": Measurement(mixed.TITLE, mixed.mixed),
    "fairness": Measurement(fairness.TITLE, fairness.fairness),
    "memory": Measurement(memory.TITLE, memory.memory),
    "databases": Measurement(databases.TITLE, databases.databases),
    "scale": Measurement(scale.TITLE, scale.scale),
    "workers": Measurement(workers.TITLE, workers.workers),
}
