"""Watching how long our certificates are still good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field
from prometheus_client import Gauge

from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.tls import Held, ServerTls

EXPIRY = Gauge(
    "s3o_tls_certificate_expiry_timestamp_seconds",
    "When the first of the certificates in a file ends.",
    ["file"],
)
SOON = timedelta(hours=24)


@define(eq=False)
class Certificates:
    """Those of all listeners, our own and the authorities that clients' certificates are signed by."""

    log = make_logger()
    _in_use: Callable[[], Sequence[ServerTls]]
    _clock: Any
    _shown: set[str] = field(factory=set, init=False)
    _known: set[Held] = field(factory=set, init=False)

    async def run_once(self) -> None:
        """Look, as a service."""
        self.look()

    def look(self) -> None:
        """Show when each of them ends, say which are new, and warn of what is not good, or not for long."""
        held = [each for tls in self._in_use() for each in tls.held]
        ends: dict[str, datetime] = {}
        for each in held:
            ends[each.file] = min(each.not_after, ends.get(each.file, each.not_after))
        for file in self._shown - set(ends):
            EXPIRY.remove(file)
        for file, end in ends.items():
            EXPIRY.labels(file).set(end.timestamp())
        renewed = dict.fromkeys(each.file for each in held if each not in self._known)
        for file in renewed:
            until = f"{ends[file]:%Y-%m-%d %H:%M} UTC"
            self.log.info("what is in {file} is in use, good until {end}", file=file, end=until)
        self._shown, self._known = set(ends), set(held)
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        for warning in dict.fromkeys(text for each in held if (text := warning_of(each, now))):
            self.log.warn("{warning}", warning=warning)


def warning_of(held: Held, now: datetime) -> str:
    """Return what an operator should know of a certificate; nothing if it is good for a while."""
    end, begin = (f"{when:%Y-%m-%d %H:%M} UTC" for when in (held.not_after, held.not_before))
    if held.not_after <= now:
        return f"the certificate in {held.file} has ended, at {end}: clients refuse it; renew it, and reload"
    if held.not_before > now:
        return f"the certificate in {held.file} is not good before {begin}: is this machine's clock right?"
    if held.not_after - now < SOON:
        return f"the certificate in {held.file} ends within 24 hours, at {end}: renew it, and reload"
    return ""
