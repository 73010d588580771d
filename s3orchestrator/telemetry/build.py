"""Which release this is, for whoever watches several instances being upgraded."""

from __future__ import annotations

from platform import python_version

from prometheus_client import Gauge

from s3orchestrator import __version__

BUILD = Gauge(
    "s3o_build_info", "1, with the release and the Python it runs on.", ["version", "python_version"]
)


def show() -> None:
    """Show it."""
    BUILD.labels(__version__, python_version()).set(1)
