"""What a new file changes, and what it cannot change without a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.live import Attempt, Changes, InForce, difference, merged
from s3orchestrator.config.loader import load
from s3orchestrator.config.sections import Config
from tests.unit.config.samples import BACKENDS, BUCKETS, MINIMAL, SERVER, two_backends


def config(text: str) -> Config:
    """A configuration that loads."""
    return load(text, {}).config


LIMITED = SERVER + BUCKETS + two_backends("1GB", "2GB")


class LiveTests(SynchronousTestCase):
    """Views of the settings in force."""

    def test_views_follow(self) -> None:
        """Whoever holds a part sees it change."""
        inForce = InForce(config(MINIMAL))
        level = inForce.live.part(lambda config: config.server).part(lambda server: server.log_level)
        self.assertEqual(level.now, "info")
        inForce.reload(config(MINIMAL.replace("server:", "server:\n  log_level: debug")), at=1.0)
        self.assertEqual(level.now, "debug")

    def test_derived(self) -> None:
        """What takes work is made once, and anew only when its settings have changed."""
        inForce, made = InForce(config(MINIMAL)), []
        names = inForce.live.part(lambda config: config.buckets).derived(
            lambda buckets: made.append(buckets) or [bucket.name for bucket in buckets]
        )
        self.assertEqual([names.now, names.now, len(made)], [["photos"], ["photos"], 1])
        inForce.reload(config(MINIMAL.replace("photos\n", "pictures\n")), at=1.0)
        self.assertEqual([names.now, names.now, len(made)], [["pictures"], ["pictures"], 2])

    def test_generations(self) -> None:
        """A configuration that is taken over is counted; one that cannot be used is remembered."""
        inForce = InForce(config(MINIMAL))
        self.assertEqual((inForce.generation, inForce.last), (1, None))
        changes = inForce.reload(config(MINIMAL.replace("9000", "9001")), at=5.0)
        self.assertEqual((inForce.generation, inForce.last), (2, Attempt(5.0, changes)))
        inForce.keep(["nonsense"], at=6.0)
        self.assertEqual((inForce.generation, inForce.last), (2, Attempt(6.0, errors=("nonsense",))))


class DifferenceTests(SynchronousTestCase):
    """Every leaf is compared and classified."""

    def assertChanges(self, old: str, new: str, *, reloadable: list[str], needs_restart: list[str]) -> None:
        """The paths that differ, and that taking over what can be leaves only the others."""
        before, after = config(old), config(new)
        self.assertEqual(difference(before, after), Changes(tuple(reloadable), tuple(needs_restart)))
        self.assertEqual(difference(merged(before, after), after), Changes((), tuple(needs_restart)))

    def test_same(self) -> None:
        """A file that says the same in other words changes nothing."""
        again = MINIMAL.replace("server:", "server:\n  max_object_size: 5120MB")
        self.assertChanges(MINIMAL, again, reloadable=[], needs_restart=[])

    def test_both_kinds(self) -> None:
        """What can be changed is, what cannot is named."""
        new = MINIMAL.replace("9000", "9001").replace("server:", "server:\n  log_level: warn")
        self.assertChanges(
            MINIMAL, new, reloadable=["server.log_level"], needs_restart=["server.listen_addr"]
        )

    def test_quotas(self) -> None:
        """A backend's quota changes in place, its endpoint does not."""
        new = (
            SERVER
            + BUCKETS
            + two_backends("1GB", "3GB").replace("https://s3.example", "https://s4.example", 1)
        )
        self.assertChanges(
            LIMITED, new, reloadable=["backends[1].quota_bytes"], needs_restart=["backends[0].endpoint"]
        )

    def test_more_backends(self) -> None:
        """Backends come and go with a restart only, and meanwhile the others keep what they have."""
        one = SERVER + BUCKETS + BACKENDS + "    quota_bytes: 1GB\n"
        self.assertChanges(one, LIMITED, reloadable=[], needs_restart=["backends[1]"])
        self.assertChanges(LIMITED, one, reloadable=[], needs_restart=["backends[1]"])

    def test_order_of_backends(self) -> None:
        """The order backends are filled in is the order they started with."""
        named = [
            "  - {name: a, type: directory, path: /a, quota_bytes: 1GB}\n",
            "  - {name: b, type: directory, path: /b, quota_bytes: 2GB}\n",
        ]
        old = SERVER + BUCKETS + "backends:\n" + "".join(named)
        new = SERVER + BUCKETS + "backends:\n" + "".join(reversed(named)).replace("1GB", "5GB")
        self.assertChanges(old, new, reloadable=["backends[1].quota_bytes"], needs_restart=["backends"])

    def test_buckets(self) -> None:
        """Buckets and credentials are replaced as a whole."""
        self.assertChanges(
            MINIMAL,
            MINIMAL.replace("photossecret", "other"),
            reloadable=["buckets[0].credentials[0].secret_access_key"],
            needs_restart=[],
        )
        more = MINIMAL.replace(BACKENDS, "  - {name: more, credentials: [{token: t}]}\n" + BACKENDS)
        self.assertChanges(MINIMAL, more, reloadable=["buckets"], needs_restart=[])

    def test_lists_of_values(self) -> None:
        """A list of plain values is one leaf."""
        new = MINIMAL.replace("server:", "server:\n  domains: [s3.example.net]")
        new += "rate_limit: {trusted_proxies: [10.0.0.0/8]}\n"
        self.assertChanges(
            MINIMAL, new, reloadable=["rate_limit.trusted_proxies"], needs_restart=["server.domains"]
        )

    @given(
        st.sampled_from(["1GB", "2GB", "7MB"]), st.sampled_from(["debug", "warn"]), st.sampled_from([1, 2])
    )
    def test_merging_twice_is_merging_once(self, quota: str, level: str, port: int) -> None:
        """What a reload took over, the next one finds unchanged."""
        new = config(
            SERVER.replace("9000", str(port)) + f"  log_level: {level}\n" + BUCKETS + two_backends(quota, "1")
        )
        once = merged(config(LIMITED), new)
        self.assertEqual(merged(once, new), once)
        self.assertEqual(difference(once, new).needs_restart, ("server.listen_addr",))
