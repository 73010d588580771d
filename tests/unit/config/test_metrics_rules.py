"""Where the metrics may be."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.loader import load
from tests.unit.config.samples import MINIMAL, errors, warnings

PATH, LISTEN = "telemetry.metrics.path", "telemetry.metrics.listen"


def metrics(settings: str) -> str:
    """A document with these settings."""
    return f"{MINIMAL}telemetry: {{metrics: {{enabled: true, {settings}}}}}\n"


class MetricsRuleTests(SynchronousTestCase):
    def test_accepted(self) -> None:
        """What no bucket can be called may be the path; with a listener of their own, anything."""
        for settings in (
            "path: /metrics",
            "path: /metrics/s3",
            "path: /~metrics",
            "path: /-/metrics",
            'listen: ":9105", path: /photos',
            'listen: "[::1]:9105"',
        ):
            self.assertEqual(errors(metrics(settings)), {}, settings)
        self.assertEqual(load(metrics('path: ""'), {}).config.telemetry.metrics.path, "/metrics")

    def test_a_bucket(self) -> None:
        """What may be a bucket, now or later, is not a path beside the buckets."""
        for path, bucket in (("/photos", "photos"), ("/nobodys/metrics", "nobodys")):
            self.assertEqual(
                errors(metrics(f"path: {path}")),
                {
                    PATH: f'"{path}" is the path of a bucket "{bucket}": let it begin with /metrics or /~, '
                    "or set telemetry.metrics.listen"
                },
            )

    def test_others(self) -> None:
        """The paths of others are theirs, at each listener."""
        for name in ("health", "admin", "ui"):
            for more in ("", ', listen: ":9105"'):
                self.assertEqual(
                    errors(metrics(f"path: /{name}{more}")),
                    {PATH: f'"/{name}" is taken by {name}: choose another, such as /metrics'},
                )

    def test_no_path(self) -> None:
        """There is one way to write the path."""
        for path in (
            "metrics",
            "/",
            "/metrics/",
            "//metrics",
            "/a b",
            "/me%74rics",
            "/m?x",
            "/../x",
            "/é",
        ):
            self.assertEqual(
                errors(metrics(f'path: "{path}"')),
                {
                    PATH: f'"{path}" is not such a path as /metrics: '
                    "write letters, digits and -._~ after each /"
                },
            )

    def test_same_listener(self) -> None:
        """Their own listener is another one."""
        same = load(MINIMAL, {}).config.server.listen_addr
        self.assertEqual(
            errors(metrics(f'listen: "{same}"')), {LISTEN: "is where clients are served: give another port"}
        )

    def test_switched_off(self) -> None:
        """Who names a listener and forgets to switch it on is told; a path is nothing to complain of."""
        off = f'{MINIMAL}telemetry: {{metrics: {{path: /photos, listen: ":9105"}}}}\n'
        self.assertEqual(
            warnings(load(off, {})), {LISTEN: "has no effect while telemetry.metrics.enabled is false"}
        )
