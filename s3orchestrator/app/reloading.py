"""
Taking over another configuration while clients are served.

Whatever may fail comes first, and changes nothing that is being served: the file is read and checked
as a whole, certificates are read, the ledger hears of new buckets and of quotas. Then, in one step in
which nothing else runs, the new settings are those in force.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import Factory, define, field, frozen
from prometheus_client import Counter, Gauge
from twisted.internet.defer import CancelledError, Deferred, succeed

from s3orchestrator.app.core import Core
from s3orchestrator.concurrency import start
from s3orchestrator.config import rules
from s3orchestrator.config.live import Changes, merged
from s3orchestrator.config.loader import Loaded, load
from s3orchestrator.config.problems import ConfigErrors, Problem, Problems
from s3orchestrator.config.sections import Config
from s3orchestrator.domain.records import Bucket
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.logging import make_logger, set_level

RELOADS = Counter("s3o_config_reloads_total", "Times the configuration was read again.", ["status"])
SUCCESSFUL = Gauge(
    "s3o_config_last_reload_successful", "1 unless the configuration that was read last could not be used."
)
GENERATION = Gauge(
    "s3o_config_generation", "How many configurations this process has had, the first included."
)

MOST_SHOWN = 50  # paths in a line of the log; all of them are in the answer to `reload-status`

TakeOver = Callable[[], None]


@frozen
class Source:
    """The file of a process, and how it was told to read it."""

    path: Path
    mode: str | None = None
    environ: Mapping[str, str] = Factory(lambda: os.environ)

    def read(self) -> Loaded:
        """:raises ConfigErrors: it cannot be used."""
        return load(self.path, self.environ, mode=self.mode, may_wait=False)


def quotas_of(config: Config) -> Mapping[str, int | None]:
    """How much each backend may hold; None for as much as there is room."""
    return {settings.name: settings.quota_bytes or None for settings in config.backends}


@define(eq=False)
class TakingOver:
    """
    Has a process go on with other settings.

    `prepare_certificates` is `Doors.prepare_certificates`; `take_over_intervals` is for what works in the
    background.
    """

    _core: Core
    _prepare_certificates: Callable[[], TakeOver]
    _take_over_intervals: TakeOver

    async def prepare(self, new: Config) -> TakeOver:
        """
        Do what may fail. Nothing changes before what is returned is called, and that cannot fail.

        :raises OrchestratorError: it cannot be taken over.
        """
        certificates = self._prepare_certificates()
        adopted = await self._adopt(merged(self._core.config, new))
        return lambda: self._take_over(new, certificates, adopted)

    async def _adopt(self, config: Config) -> Sequence[Bucket]:
        names = _bucket_names(config) - _bucket_names(self._core.config)
        return await self._core.objects.catalog.adopt(names)

    def _take_over(self, new: Config, certificates: TakeOver, adopted: Sequence[Bucket]) -> None:
        core = self._core
        changes = core.in_force.reload(new, core.reactor.seconds())
        certificates()
        core.objects.catalog.take_over(_bucket_names(core.config), adopted)
        self._take_over_intervals()
        if "server.log_level" in changes.reloadable:  # else what the admin API has set stays
            set_level(core.config.server.log_level)


async def nobody_else(new: Config) -> TakeOver:
    """There is only this process."""
    return lambda: None


@define(eq=False)
class Reloader:
    """
    Reads `source` again when asked.

    `taking_over` is for this process, `prepare_others` has all others do the same as its `prepare`. `began`
    and `ended` are told of each time, the latter with a sentence on what came of it.
    """

    log = make_logger()
    _source: Source
    _core: Core
    _taking_over: TakingOver
    _began: Callable[[], object]
    _ended: Callable[[str], object]
    _prepare_others: Callable[[Config], Coroutine[Any, Any, TakeOver]] = nobody_else
    _is_wanted: bool = field(default=False, init=False)
    _is_working: bool = field(default=False, init=False)
    _working: Deferred[None] = field(factory=lambda: succeed(None), init=False)
    # What the ledger was told last, which at start is all of it; None when that is not known.
    _quotas: Mapping[str, int | None] | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._quotas = quotas_of(self._core.config)
        for status in ("success", "failed"):
            RELOADS.labels(status)
        SUCCESSFUL.set(1)
        GENERATION.set(self._core.in_force.generation)

    def ask(self) -> None:
        """
        Read the file again.

        While that is being done already, it is done once more afterwards, however often it is asked for:
        the file may have changed since it was read. What is asked for at a time is done once, and clients
        have their turn before each.
        """
        self._is_wanted = True
        if not self._is_working:
            self._is_working = True
            self._working = start(self._work())

    async def stop(self) -> None:
        """Break off what is under way; to be asked no more."""
        self._working.cancel()
        await self._working

    async def _work(self) -> None:
        try:
            while self._is_wanted:
                await self._turn_of_others()
                self._is_wanted = False
                self._began()
                self._ended(await self._reload())
        except CancelledError:
            return  # we are being stopped
        finally:
            self._is_working = False

    def _turn_of_others(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._core.reactor.callLater(0, turn.callback, None)
        return turn

    async def _reload(self) -> str:
        """Do it once; never fails. Returns what came of it."""
        path = str(self._source.path)
        self.log.info("SIGHUP received, the configuration is read again: {path}", path=path)
        try:
            loaded = self._source.read()
            take_over = await self._prepare(loaded.config)
            take_over()
        except CancelledError:
            raise
        except ConfigErrors as error:
            return self._keep([str(problem) for problem in error.problems])
        except OrchestratorError as error:
            return self._keep([str(error)])
        except Exception:
            # Or whoever asked would hear nothing, and systemd would wait for the end of it for ever.
            self.log.failure("the configuration could not be taken over")
            return self._keep(["something went wrong here; the log has it"])
        for warning in loaded.warnings:
            self.log.warn("{path}: {warning}", path=path, warning=str(warning))
        return self._tell()

    # --- what may fail

    async def _prepare(self, new: Config) -> TakeOver:
        config = merged(self._core.config, new)
        _check(config)
        take_over = await self._taking_over.prepare(new)
        others = await self._prepare_others(new)
        # Last, for it takes effect at once.
        await self._tell_quotas(config)

        def all_take_over() -> None:
            take_over()
            others()

        return all_take_over

    async def _tell_quotas(self, config: Config) -> None:
        """
        Tell the ledger, unless it knows: what needs no ledger can be changed while that is away.

        Quotas of backends that need a restart to appear are not told.
        """
        quotas = quotas_of(config)
        if quotas == self._quotas:
            return
        self._quotas = None  # without an answer nobody knows whether it was written
        await self._core.ledger.blobs.set_limits(quotas)
        self._quotas = quotas

    # --- what came of it

    def _tell(self) -> str:
        in_force = self._core.in_force
        assert in_force.last is not None
        changes, generation = in_force.last.changes, in_force.generation
        for text in told(changes, in_force.config):
            self.log.info("reloaded: {what}", what=text)
        if changes.needs_restart:
            self.log.warn("need a restart: {paths}", paths=_listed(changes.needs_restart))
        self.log.info(
            "configuration reload complete: generation {generation}, {number} settings changed",
            generation=generation,
            number=len(changes.reloadable),
        )
        self._count("success", changed=_listed(changes.reloadable), ignored=_listed(changes.needs_restart))
        return f"configuration {generation}" + ("; some of it needs a restart" * bool(changes.needs_restart))

    def _keep(self, errors: Sequence[str]) -> str:
        self._core.in_force.keep(errors, self._core.reactor.seconds())
        shown = "; ".join(errors)
        self.log.error("configuration reload failed, keeping the current one: {errors}", errors=shown)
        self._count("failed", error=shown)
        return f"configuration reload failed: {shown}"

    def _count(self, status: str, **noted: object) -> None:
        generation = self._core.in_force.generation
        RELOADS.labels(status).inc()
        SUCCESSFUL.set(status == "success")
        GENERATION.set(generation)
        audit("config.Reload", status=status, generation=generation, **noted)


def _check(config: Config) -> None:
    """
    Apply the rules to what would be in force: what is taken over has to fit to what is not.

    :raises ConfigErrors: it does not.
    """
    problems = Problems()
    rules.check(config, problems)
    if problems.errors:
        raise ConfigErrors(
            Problem(problem.path, f"{problem.message} (as long as what needs a restart is as it was)")
            for problem in problems.errors
        )


def _bucket_names(config: Config) -> frozenset[str]:
    return frozenset(bucket.name for bucket in config.buckets)


def told(changes: Changes, config: Config) -> list[str]:
    """Say what was taken over, in the words of operators: a line for each kind of setting."""
    limits = config.rate_limit
    kinds: Sequence[tuple[Callable[[str], bool], str]] = (
        (
            lambda path: path.startswith(("buckets", "users")),
            f"buckets and credentials ({len(config.buckets)} buckets, {len(config.users)} users)",
        ),
        (
            lambda path: path.startswith("rate_limit."),
            f"rate limits ({limits.requests_per_sec:g} requests per second, burst {limits.burst})",
        ),
        (lambda path: path.endswith(".quota_bytes"), "backend quota limits"),
        (
            lambda path: path.startswith("backends[") and path.endswith("_limit"),
            "backend usage limits",
        ),
    )
    lines, left = [], list(changes.reloadable)
    for is_meant, text in kinds:
        others = [path for path in left if not is_meant(path)]
        if len(others) < len(left):
            lines.append(text)
        left = others
    return [*lines, _listed(left)] if left else lines


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - MOST_SHOWN
    return ", ".join(paths[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")
