"""From a file to settings: acceptance samples, and what operators are told."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.addresses import Address
from s3orchestrator.config.loader import load
from s3orchestrator.config.problems import ConfigErrors
from tests.unit.config.samples import (
    BACKENDS,
    BUCKETS,
    MINIMAL,
    SERVER,
    errors,
    scratch,
    two_backends,
    warnings,
)


class AcceptanceTests(SynchronousTestCase):
    """Whole documents: the smallest ones that are right, and the mistakes people make."""

    def test_minimal(self) -> None:
        """An address, a bucket with a key pair and a backend are enough."""
        loaded = load(MINIMAL, {})
        config = loaded.config
        self.assertEqual(loaded.warnings, ())
        self.assertEqual([each.place for each in config.server.places], [Address("127.0.0.1", 9000)])
        self.assertEqual(config.database.engine, "sqlite")
        self.assertEqual(
            (config.mode, config.routing_strategy, config.replication.factor), ("all", "pack", 1)
        )
        self.assertEqual(config.server.max_object_size, 5 << 30)
        self.assertEqual((config.backends[0].name, config.backends[0].type), ("backend-0", "s3"))
        self.assertTrue(config.backends[0].sends_unsigned_payload)

    def test_two_limited_backends(self) -> None:
        """Two backends with quotas are right; that nothing is stored twice is a warning."""
        loaded = load(SERVER + BUCKETS + two_backends("20GB", "1024"), {})
        self.assertEqual([backend.quota_bytes for backend in loaded.config.backends], [20 << 30, 1024])
        self.assertEqual([*warnings(loaded)], ["replication.factor"])

    def test_two_unlimited_backends(self) -> None:
        """Several unlimited backends need no replication, only a warning."""
        found = warnings(load(SERVER + BUCKETS + two_backends("0", "0"), {}))
        self.assertIn("several are unlimited", found["backends"])

    def test_limited_and_unlimited(self) -> None:
        """Limited and unlimited backends may be mixed; `pack` warns of what comes after an unlimited one."""
        self.assertNotIn("routing_strategy", warnings(load(SERVER + BUCKETS + two_backends("1GB", "0"), {})))
        found = warnings(load(SERVER + BUCKETS + two_backends("0", "1GB"), {}))
        self.assertIn("backend-0", found["routing_strategy"])
        spread = "routing_strategy: spread\n" + SERVER + BUCKETS + two_backends("0", "1GB")
        self.assertNotIn("routing_strategy", warnings(load(spread, {})))

    def test_factor_above_backends(self) -> None:
        """More copies than backends cannot be, whether or not copies are built."""
        text = SERVER + BUCKETS + two_backends("0", "0") + "replication: {factor: 3}\n"
        with self.assertRaises(ConfigErrors) as caught:
            load(text, {})
        self.assertIn("replication.factor", {problem.path for problem in caught.exception.problems})

    def test_shared_access_key(self) -> None:
        """An access key id belongs to one bucket or user; the second is told where the first is."""
        more = BUCKETS + BUCKETS.replace("buckets:\n", "").replace("photos", "documents", 1)
        found = errors(SERVER + more + BACKENDS)
        self.assertEqual([*found], ["buckets[1].credentials[0].access_key_id"])
        self.assertIn(
            "buckets[0].credentials[0].access_key_id", found["buckets[1].credentials[0].access_key_id"]
        )

    def test_dashboard_without_session_secret(self) -> None:
        """A dashboard needs its secrets."""
        found = errors(MINIMAL + "ui: {enabled: true, admin_key: a, admin_secret: b}\n")
        self.assertIn("ui.session_secret", found)

    def test_encryption_key_sources(self) -> None:
        """Encryption needs exactly one source of its key."""
        key = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
        for sources in ("", f", master_key: {key}, master_key_file: /key"):
            self.assertIn("encryption", errors(MINIMAL + f"encryption: {{enabled: true{sources}}}\n"))
        self.assertNotIn(
            "encryption", errors(MINIMAL + f"encryption: {{enabled: true, master_key: {key}}}\n")
        )

    def test_default_chain_with_keys(self) -> None:
        """Keys beside `default_chain` are a contradiction."""
        found = errors(MINIMAL + "    credential_source: default_chain\n")
        self.assertEqual([*found], ["backends[0].access_key_id", "backends[0].secret_access_key"])

    def test_usage_limits(self) -> None:
        """Monthly limits are numbers and sizes of a backend; without any there is nothing to adapt to."""
        adaptive = "usage_flush: {adaptive_enabled: true}\n"
        limited = f"{MINIMAL}    api_request_limit: 50000\n    egress_byte_limit: 10GB\n{adaptive}"
        loaded = load(limited, {})
        backend = loaded.config.backends[0]
        self.assertEqual((backend.api_request_limit, backend.egress_byte_limit), (50_000, 10 << 30))
        self.assertTrue(backend.has_usage_limits)
        self.assertEqual(warnings(loaded), {})
        self.assertEqual([*warnings(load(MINIMAL + adaptive, {}))], ["usage_flush.adaptive_enabled"])
        negative = MINIMAL + "    api_request_limit: -1\n"
        self.assertEqual([*errors(negative)], ["backends[0].api_request_limit"])

    def test_usage_flush_intervals(self) -> None:
        """The fast interval is the shorter one."""
        self.assertIn("usage_flush.fast_interval", errors(MINIMAL + "usage_flush: {interval: 5s}\n"))

    def test_time_limits(self) -> None:
        """Headers have no more time than bodies have silence, backends no more than responses."""
        text = MINIMAL.replace(SERVER, SERVER + "  read_timeout: 5s\n  backend_timeout: 6m\n")
        self.assertEqual([*errors(text)], ["server.read_header_timeout", "server.backend_timeout"])


class PredecessorTests(SynchronousTestCase):
    """Files written for the predecessor are accepted wherever they ask for nothing that is not there."""

    def test_everything_off(self) -> None:
        """A file with every section, all features off, is accepted without a word."""
        text = MINIMAL.replace(
            SERVER,
            SERVER
            + """\
  max_object_size: 0
  max_concurrent_requests: 0
  backend_timeout: "30s"
  idle_timeout: 0
""",
        ) + (
            """\
    region: ""
    force_path_style: yes
    quota_bytes: 21474836480
    api_request_limit: 0
database: {driver: sqlite, path: "s3-orchestrator.db"}
routing_strategy: "pack"
telemetry:
  metrics: {enabled: false, path: "/metrics"}
  tracing: {enabled: false, endpoint: "localhost:4317", insecure: true, sample_rate: 0.1}
circuit_breaker: {failure_threshold: 3, open_timeout: "15s", cache_ttl: "60s", parallel_broadcast: false}
backend_circuit_breaker: {enabled: false, failure_threshold: 7, open_timeout: 1m}
rebalance: {enabled: false, strategy: "spread", interval: "1h", batch_size: 10, threshold: 0.2}
replication: {factor: 1, worker_interval: "1m", batch_size: 5, concurrency: 2, unhealthy_threshold: "1m"}
cleanup_queue: {concurrency: 10, claim_grace_period: "5m"}
write_path: {pending_pattern: {enabled: true}}
rate_limit: {enabled: true, requests_per_sec: 10, burst: 20, trusted_proxies: ["10.0.0.0/8"]}
encryption: {enabled: false, chunk_size: 65536, vault: ~, previous_keys: []}
integrity: {enabled: false, verify_on_read: true, scrubber_interval: "6h"}
ui: {enabled: false, path: "/ui", admin_secret: "$2a$10$abcdefghijklmnopqrstuv", session_secret: x}
usage_flush: {interval: "30s", adaptive_enabled: false, adaptive_threshold: 0.8, fast_interval: "5s"}
lifecycle: {rules: []}
reconcile: {enabled: false, interval: 12h}
cache: {enabled: false, max_size: "1GB", max_object_size: "1MB", ttl: 1m}
redis:
notifications: {endpoints: []}
"""
        )
        loaded = load(text, {})
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(loaded.config.server.max_object_size, 5 << 30)
        self.assertEqual(loaded.config.server.max_concurrent_requests, 1000)
        self.assertEqual(loaded.config.server.idle_timeout, 120)
        self.assertEqual(loaded.config.backends[0].region, "us-east-1")
        self.assertTrue(loaded.config.backends[0].force_path_style)
        self.assertEqual(loaded.config.ui.admin_secret, "$2a$10$abcdefghijklmnopqrstuv")

    def test_everything_not_built(self) -> None:
        """Each feature that is asked for and not there stops the start, by its path."""
        wanted = {
            "replication.factor": "replication: {factor: 2}",
            "encryption.enabled": "encryption: {enabled: true, master_key_file: /k}",
            "cache.enabled": "cache: {enabled: true}",
            "redis": "redis: {address: 'localhost:6379'}",
            "notifications.endpoints": "notifications: {endpoints: [{url: 'http://x', events: ['*']}]}",
            "rebalance.enabled": "rebalance: {enabled: true}",
            "reconcile.enabled": "reconcile: {enabled: true}",
            "lifecycle.rules": "lifecycle: {rules: [{prefix: tmp/, expiration_days: 7}]}",
            "integrity.enabled": "integrity: {enabled: true}",
            "ui.enabled": "ui: {enabled: true, admin_key: h, admin_secret: hunter2, session_secret: h}",
        }
        text = SERVER + BUCKETS + two_backends("0", "0") + "\n".join(wanted.values())
        found = errors(text)
        self.assertEqual(set(found), set(wanted))
        for message in found.values():
            self.assertIn("this release does not have", message)
        self.assertNotIn("hunter2", repr(found))

    def test_tracing_and_dashboard_not_built(self) -> None:
        """So do the dashboard and tracing."""
        found = errors(
            MINIMAL
            + "telemetry: {tracing: {enabled: true, endpoint: 'localhost:4317'}}\n"
            + "ui: {enabled: true, admin_key: a, admin_secret: b, session_secret: c}\n"
        )
        self.assertEqual([*found], ["telemetry.tracing.enabled", "ui.enabled"])

    def test_host_means_postgres(self) -> None:
        """A database host without a driver asks for PostgreSQL, as it always did."""
        loaded = load(MINIMAL + "database: {host: h, database: d, user: u}\n", {})
        self.assertEqual(loaded.config.database.engine, "postgres")

    def test_tuning_without_effect(self) -> None:
        """A changed number that tunes nothing yet is a warning, so that nothing is silently ignored."""
        tuned = "cleanup_queue: {concurrency: 1, multipart_stale_timeout: 1h}\n"
        loaded = load(MINIMAL + tuned, {})
        self.assertEqual([*warnings(loaded)], ["cleanup_queue.multipart_stale_timeout"])

    def test_writes_are_always_written_down(self) -> None:
        """The reservation before each write cannot be turned off."""
        self.assertEqual(
            [*errors(MINIMAL + "write_path: {pending_pattern: {enabled: false}}\n")],
            ["write_path.pending_pattern.enabled"],
        )


class MessageTests(SynchronousTestCase):
    """What operators are told: path, line, value, reason, next step; never a secret."""

    def test_all_at_once(self) -> None:
        """Mistakes of every kind come in one go, in the order of the file."""
        with self.assertRaises(ConfigErrors) as caught:
            load("server: {lisen_addr: x}\nbuckets: 5\nbackends:\n  - {type: disk, quota_bytes: 1x}\n", {})
        self.assertEqual(
            [str(problem) for problem in caught.exception.problems],
            [
                "server.lisen_addr (line 1): there is no such key; did you mean listen_addr?",
                "server.listen_addr (line 1): is required: write listen_addr: 127.0.0.1:9000",
                "buckets (line 2): must be a list: write each entry on a line of its own, after a dash",
                'backends[0].type (line 4): "disk" is not one of s3, directory, memory',
                'backends[0].quota_bytes (line 4): "1x" is not a size: write whole bytes, or a whole number '
                "with KB, MB, GB or TB",
            ],
        )
        self.assertTrue(str(caught.exception).startswith("invalid config: server.lisen_addr"))

    def test_key_of_another_section(self) -> None:
        """A key in the wrong place is told where it belongs."""
        found = errors(MINIMAL + "quiet_period: 1h\n")
        self.assertIn("did you mean write_path.quiet_period?", found["quiet_period"])

    def test_unknown_key_like_no_other(self) -> None:
        """A key that resembles none gets the list."""
        found = errors(MINIMAL + "multipart: {zzz: 1}\n")
        self.assertIn("the ones here are stale_after", found["multipart.zzz"])

    def test_secrets_are_not_shown(self) -> None:
        """Neither a wrong secret nor the variable behind a wrong value appears in a message."""
        text = MINIMAL.replace("photossecret", '"hunter2\\n"') + "    quota_bytes: ${LEAK}\n"
        with self.assertRaises(ConfigErrors) as caught:
            load(text, {"LEAK": "hunter3"})
        self.assertEqual(len(caught.exception.problems), 2)
        self.assertNotIn("hunter", str(caught.exception))
        self.assertIn('"${LEAK}"', str(caught.exception))

    def test_endpoint_with_password(self) -> None:
        """A URL that holds a password is refused unseen."""
        found = errors(MINIMAL.replace("https://", "https://root:hunter2@"))
        self.assertEqual([*found], ["backends[0].endpoint"])
        self.assertNotIn("hunter2", found["backends[0].endpoint"])

    def test_config_does_not_show_secrets(self) -> None:
        """A configuration can be logged."""
        text = MINIMAL + "ui: {session_secret: hunter2}\n"
        shown = repr(load(text, {}))
        for secret in ("photossecret", "backendsecret", "hunter2"):
            self.assertNotIn(secret, shown)

    def test_variables(self) -> None:
        """Variables work in every type of value, whatever they hold, and are named when they are not set."""
        text = (
            MINIMAL.replace("photossecret", "${S}")
            + "    quota_bytes: ${Q:-2GB}\n    force_path_style: ${B}\n"
        )
        config = load(text, {"S": "a: 'b' # \"c\"", "B": "true"}).config
        self.assertEqual(config.buckets[0].credentials[0].secret_access_key, "a: 'b' # \"c\"")
        self.assertEqual(
            (config.backends[0].quota_bytes, config.backends[0].force_path_style), (2 << 30, True)
        )
        found = errors(text)
        self.assertEqual(
            [*found], ["buckets[0].credentials[0].secret_access_key", "backends[0].force_path_style"]
        )
        self.assertIn("environment variable S", found["buckets[0].credentials[0].secret_access_key"])

    def test_comments_are_not_expanded(self) -> None:
        """A reference in a comment needs no variable."""
        self.assertEqual(errors(MINIMAL + "# ${NOWHERE}\n"), {})

    def test_wrong_shapes(self) -> None:
        """A list, block or value in each other's place is said, and the rest is still looked at."""
        found = errors(
            "server: [a]\nbuckets: [photos, ~]\nusers: {a: b}\nmode: [all]\n"
            "backends:\n  - name: {x: y}\n    bogus: 1\n"
        )
        self.assertEqual(
            [path for path in found if not path.startswith("backends[0].")],
            ["server", "buckets[0]", "buckets[1]", "users", "mode"],
        )
        self.assertLessEqual({"backends[0].name", "backends[0].bogus"}, set(found))

    def test_mode_of_the_command_line(self) -> None:
        """The command line's mode replaces the file's."""
        self.assertEqual(load("mode: api\n" + MINIMAL, {}, mode="all").config.mode, "all")
        with self.assertRaises(ConfigErrors) as caught:
            load(MINIMAL, {}, mode="sideways")
        self.assertEqual([problem.path for problem in caught.exception.problems], ["mode"])


class ReadingFilesTests(SynchronousTestCase):
    """Files that can be read, and that cannot."""

    def test_file(self) -> None:
        """A path is read, with or without a byte order mark."""
        path = scratch(self) / "config.yaml"
        path.write_text("\ufeff" + MINIMAL, "utf-8")
        self.assertEqual(load(path, {}).config.buckets[0].name, "photos")

    def test_unreadable(self) -> None:
        """What cannot be read names the file and the reason."""
        missing, directory, binary = (scratch(self) / name for name in ("missing", "directory", "binary"))
        directory.mkdir()
        binary.write_bytes(b"server: \xff\xfe")
        for path in (missing, directory, binary):
            with self.assertRaises(ConfigErrors) as caught:
                load(path, {})
            self.assertEqual([problem.path for problem in caught.exception.problems], [str(path)])

    def test_too_large(self) -> None:
        """A file that cannot be a configuration is not read to its end."""
        path = scratch(self) / "config.yaml"
        path.write_bytes(b"#" * (2 << 20))
        error = self.assertRaises(ConfigErrors, load, path, {})
        self.assertIn("larger than 1 MiB", str(error))


def _replaced(old: str, new: str) -> Callable[[str], str]:
    def apply(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return apply


_BASE = """\
server:
  listen_addr: "127.0.0.1:9000"
  log_level: info
  read_timeout: 5m
  load_shed_threshold: 0.5
  tls: {min_version: "1.2"}
buckets:
  - name: photos
    max_multipart_uploads: 5
    credentials: [{access_key_id: PK, secret_access_key: ps}]
  - name: shared
users:
  - name: alice
    credentials: [{access_key_id: AK, secret_access_key: as}]
    buckets: [photos, shared]
    access: full
database: {port: 5432}
backends:
  - {name: one, type: directory, path: /one, quota_bytes: 1GB}
  - {name: two, endpoint: "http://127.0.0.1:1", bucket: b, access_key_id: BK, secret_access_key: bs}
write_path: {replay_limit: 1MB}
rate_limit: {trusted_proxies: [10.0.0.0/8]}
"""

_MISTAKES = {
    "server.listen_addr": _replaced("127.0.0.1:9000", "nowhere"),
    "server.log_level": _replaced("info", "chatty"),
    "server.read_timeout": _replaced("5m", "5"),
    "server.load_shed_threshold": _replaced("0.5", "1"),
    "server.tls.min_version": _replaced('"1.2"', "1.1"),
    "server.tls.cert": _replaced("tls: {", "tls: {cert: x, "),
    "buckets[0].max_multipart_uploads": _replaced("uploads: 5", "uploads: -5"),
    "buckets[0].credentials[0].secret_access_key": _replaced(
        "secret_access_key: ps", 'secret_access_key: ""'
    ),
    "users[0].credentials[0].secret_access_key": _replaced(", secret_access_key: as", ""),
    "users[0].buckets[1]": _replaced("[photos, shared]", "[photos, shard, shared]"),
    "users[0].access": _replaced("access: full", "access: admin"),
    "database.port": _replaced("5432", "http"),
    "backends[0].quota_bytes": _replaced("1GB", "lots"),
    "backends[0].path": _replaced("path: /one, ", ""),
    "backends[1].endpoint": _replaced('endpoint: "http://127.0.0.1:1"', "endpoint: nowhere"),
    "write_path.replay_limit": _replaced("1MB", '"${NOT_SET}"'),
    "rate_limit.trusted_proxies[0]": _replaced("10.0.0.0/8", "everyone"),
    "typo": lambda text: text + "typo: 1\n",
}


class CompletenessTests(SynchronousTestCase):
    """Errors are complete."""

    def test_base(self) -> None:
        """The document that is going to be spoilt is right."""
        self.assertEqual(errors(_BASE), {})

    @given(st.sets(st.sampled_from(sorted(_MISTAKES))))
    def test_each_mistake_is_one_error(self, chosen: set[str]) -> None:
        """Any combination of mistakes gives exactly one error for each, at its path."""
        text = _BASE
        for path in sorted(chosen):
            text = _MISTAKES[path](text)
        try:
            load(text, {})
            found = []
        except ConfigErrors as refused:
            found = sorted(problem.path for problem in refused.problems)
        self.assertEqual(found, sorted(chosen))
