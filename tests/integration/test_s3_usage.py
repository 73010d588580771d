"""Monthly limits and breakers, as clients of a whole server meet them."""

from __future__ import annotations

from tests.integration.s3_server import ServerCase

LARGE = bytes(range(256)) * 4096


class UsageTests(ServerCase):
    backends = (
        '[{name: a, type: directory, path: "%(folder)s/a", quota_bytes: 300MB,'
        " egress_byte_limit: 2500KB, ingress_byte_limit: 2500KB},"
        ' {name: b, type: directory, path: "%(folder)s/b", quota_bytes: 300MB, ingress_byte_limit: 1KB}]'
    )

    def test_limits(self) -> None:
        """
        Writes over the limits are 507, reads 429; both also after a restart, and deletes always work.
        """
        alice = self.server.caller()
        for name in ("one", "two"):
            self.assertSucceeded(alice.ask("PUT", f"/photos/{name}", LARGE))
            self.assertEqual(alice.ask("GET", f"/photos/{name}").body, LARGE)
        for _ in range(2):
            self.assertRefused(alice.ask("PUT", "/photos/three", LARGE), 507, "InsufficientStorage")
            refused = alice.ask("GET", "/photos/one")
            self.assertRefused(refused, 429, "SlowDown")
            self.assertEqual(refused.header("retry-after"), "60")
            self.assertSucceeded(alice.ask("HEAD", "/photos/one"))
            self.assertSucceeded(alice.ask("PUT", "/photos/small", b"fits"))
            self.server.restart()
            alice = self.server.caller()
        self.assertSucceeded(alice.ask("DELETE", "/photos/one"), 204)
        found = self.server.settled()["objects on a"]
        self.assertEqual([name.partition("~")[0] for name, *_ in found], ["photos/small", "photos/two"])
