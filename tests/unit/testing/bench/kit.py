"""Figures to test with."""

from __future__ import annotations

from s3orchestrator.testing.bench.report import CPU, OURS, Figure


def figure(
    what: str,
    *values: float,
    case: str = "small",
    who: str = OURS,
    measure: str = CPU,
    unit: str = "µs",
    **at: float,
) -> Figure:
    """A figure that was measured in as many rounds as there are values."""
    return Figure(case, what, who, measure, unit, values, at)
