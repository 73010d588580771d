"""What is aimed at, each aim with the figures that it is about. Nothing fails because one is missed."""

from __future__ import annotations

from typing import TypeAlias

from attrs import frozen

from s3orchestrator.testing.bench.report import (
    CPU,
    NGINX,
    OURS,
    P50,
    P99,
    Figure,
    Report,
    Verdict,
    number,
)

Name: TypeAlias = tuple[str, str, str, str]

SMALL_LEDGER, LARGE_LEDGER = "ours, 10 000 objects", "ours, 2 000 000 objects"
GROWTH = "growth"


@frozen
class Target:
    """
    A figure (`case`, `what`, `who`, `measure`) and the most that it should be.

    With `of` the limit is a multiple of what that one needs for the same.
    """

    aim: str
    case: str
    what: str
    limit: float
    who: str = OURS
    measure: str = CPU
    of: str = ""

    @property
    def name(self) -> Name:
        """The name of its figure."""
        return self.case, self.what, self.who, self.measure

    def guide(self, unit: str) -> str:
        """The limit in words, for a figure in that unit."""
        return f"≤ {self.limit:g} × {self.of}" if self.of else f"≤ {self.limit:g} {unit}"

    def judge(self, report: Report) -> Verdict:
        """Compare it to what was found."""
        figure = report.find(*self.name)
        base = report.find(self.case, self.what, self.of, self.measure) if self.of else None
        what = f"{self.case}: {self.what}" + (f" ({self.measure})" if self.measure != CPU else "")
        if figure is None or (self.of and base is None):
            return Verdict(self.aim, what, self.limit, f"× {self.of}" if self.of else "")
        least, median = figure.least, figure.median
        if base is not None:
            least, median = _rounded(least / base.least), _rounded(median / base.median)
        return Verdict(
            self.aim,
            what,
            self.limit,
            f"× {self.of}" if self.of else figure.unit,
            least,
            median,
            _told(figure),
            _told(report.find(self.case, self.what, NGINX, self.measure)),
        )


def _told(figure: Figure | None) -> str:
    return f"{number(figure.median)} {figure.unit}" if figure is not None else ""


def _rounded(ratio: float) -> float:
    return float(f"{ratio:.4g}")


_GET = "GET 1 KiB, verify + ledger + backend"
_NO_BACKEND = "HEAD, 304"
_FAIRNESS = "small GETs beside three hashed uploads"
_MEMORY = "growth of RSS over idle"
_SCALE = "one operation at 10 000 and at 2 000 000 objects"
_UPLOADS = "beside 3 PUTs, SHA-256 signed"

TARGETS = (
    Target(_GET, "small", "GET, 32 connections", 150),
    Target("PUT 1 KiB, durable, 32 connections", "small", "PUT, new keys, 32 connections", 220),
    Target(_NO_BACKEND, "small", "HEAD, 32 connections", 80),
    Target(_NO_BACKEND, "small", "304, 32 connections", 80),
    Target("GET 64 MiB plain", "bodies", "GET 64 MiB", 0.35, of=NGINX),
    Target("PUT 64 MiB plain, unsigned payload", "bodies", "PUT 64 MiB, unsigned payload", 0.5, of=NGINX),
    Target("GET 64 MiB over TLS", "bodies", "GET 64 MiB, TLS", 1.0, of=NGINX),
    Target("multipart complete of 1 GiB", "multipart", "complete 1 GiB", 20),
    Target(_FAIRNESS, "fairness", _UPLOADS, 5, measure=P50),
    Target(_FAIRNESS, "fairness", _UPLOADS, 30, measure=P99),
    Target(_MEMORY, "memory", "64 PUTs of 256 MiB at once", 110, measure=GROWTH),
    Target(_MEMORY, "memory", "200 slow readers", 110, measure=GROWTH),
    Target("PostgreSQL GET 1 KiB, client side", "databases", "GET", 250, who="ours, PostgreSQL"),
    Target("PostgreSQL PUT 1 KiB, client side", "databases", "PUT, new keys", 450, who="ours, PostgreSQL"),
    *(
        Target(_SCALE, "scale", what, 1.2, who=LARGE_LEDGER, of=SMALL_LEDGER)
        for what in ("GET", "HEAD", "PUT, new keys", "PUT, overwriting", "DELETE", "page of 1000 keys")
    ),
)


def judged(report: Report) -> Report:
    """Return the report with what was aimed at beside its figures, and a verdict for each aim."""
    units = {figure.name: figure.unit for figure in report.figures}
    guides = {target.name: target.guide(units.get(target.name, "")) for target in TARGETS}
    verdicts = tuple(target.judge(report) for target in TARGETS)
    with_guides = report.with_guides(guides)
    return Report(with_guides.about, with_guides.figures, verdicts, with_guides.problems)
