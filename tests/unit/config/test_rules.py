"""Rules over several settings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.loader import load
from s3orchestrator.config.scalars import AUTO
from tests.unit.config.samples import BACKENDS, BUCKETS, MINIMAL, SERVER, errors, warnings

DIRECTORY = "backends: [{name: disk, type: directory, path: /disk}]\n"


def bucket(name: str) -> str:
    """A document with one bucket of that name."""
    return SERVER + f'buckets: [{{name: "{name}", credentials: [{{token: t}}]}}]\n' + DIRECTORY


def users(*entries: str) -> str:
    """A document with these users beside the bucket."""
    return SERVER + BUCKETS + DIRECTORY + "users:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


KEYS = "credentials: [{access_key_id: AK, secret_access_key: s}]"


class BucketTests(SynchronousTestCase):
    """Buckets of the file, and who may use them."""

    def test_reserved_names(self) -> None:
        """Names that are our own paths, or look like our own objects, are refused."""
        for name in ("health", "metrics", "admin", "ui", "~s3o"):
            self.assertIn("is reserved", errors(bucket(name))["buckets[0].name"])

    def test_impossible_names(self) -> None:
        """Names that no path can hold are refused."""
        for name in ("a/b", "..", ".", "a b", "a" * 256, "é"):
            self.assertEqual([*errors(bucket(name))], ["buckets[0].name"], name)

    def test_older_names(self) -> None:
        """Names S3 no longer allows are accepted with a warning, today's without."""
        for name in ("My_Bucket", "x", "a" * 64):
            self.assertIn("buckets[0].name", warnings(load(bucket(name), {})))
        self.assertEqual(warnings(load(bucket("my-bucket.1"), {})), {})

    def test_needed(self) -> None:
        """Without a bucket there must be somebody who can make one."""
        self.assertEqual([*errors(SERVER + DIRECTORY)], ["buckets"])
        maker = SERVER + DIRECTORY + f"users: [{{name: a, create_buckets: true, {KEYS}}}]\n"
        self.assertEqual(errors(maker), {})

    def test_unique(self) -> None:
        """Two buckets of one name are one too many."""
        text = MINIMAL.replace(BACKENDS, "  - {name: photos, credentials: [{token: t}]}\n" + BACKENDS)
        self.assertEqual([*errors(text)], ["buckets[1].name"])

    def test_unused(self) -> None:
        """A bucket that nobody may use is an error, unless a user lists it."""
        text = SERVER + "buckets: [{name: shared}]\n" + DIRECTORY
        self.assertEqual([*errors(text)], ["buckets[0].credentials"])
        self.assertEqual(errors(text + f"users: [{{name: a, buckets: [shared], {KEYS}}}]\n"), {})

    def test_half_credentials(self) -> None:
        """A credential is a pair, a token, or both, but not half a pair."""
        for credential, path in (
            ("access_key_id: A", "buckets[0].credentials[0].secret_access_key"),
            ("secret_access_key: s", "buckets[0].credentials[0].access_key_id"),
            ("access_key_id: A, token: t", "buckets[0].credentials[0].secret_access_key"),
            ("token: ''", "buckets[0].credentials[0]"),
        ):
            text = SERVER + f"buckets: [{{name: photos, credentials: [{{{credential}}}]}}]\n" + DIRECTORY
            self.assertEqual([*errors(text)], [path])

    def test_tokens_are_unique(self) -> None:
        """A token names one bucket, and is not shown when it names two."""
        entry = "{name: %s, credentials: [{token: hunter2}]}"
        found = errors(SERVER + f"buckets: [{entry % 'one'}, {entry % 'two'}]\n" + DIRECTORY)
        self.assertEqual([*found], ["buckets[1].credentials[0].token"])
        self.assertNotIn("hunter2", str(found))

    def test_access_key_syntax(self) -> None:
        """An access key id that could not be told apart in a credential scope is refused."""
        found = errors(MINIMAL.replace("PHOTOSKEY", "photos/key"))
        self.assertEqual([*found], ["buckets[0].credentials[0].access_key_id"])


class UserTests(SynchronousTestCase):
    """Users."""

    def test_complete(self) -> None:
        """A user with everything the documentation shows."""
        config = load(
            users(f"name: alice, {KEYS}, create_buckets: true, buckets: [photos], access: write"), {}
        ).config
        alice = config.users[0]
        self.assertEqual(
            (alice.name, alice.create_buckets, alice.buckets, alice.access),
            ("alice", True, ("photos",), "write"),
        )

    def test_defaults(self) -> None:
        """Full access to the listed buckets, and none are created."""
        alice = load(users(f"name: alice, {KEYS}, buckets: [photos]"), {}).config.users[0]
        self.assertEqual((alice.access, alice.create_buckets), ("full", False))

    def test_mistakes(self) -> None:
        """Unknown buckets, shared keys, no keys, the same name twice."""
        self.assertEqual([*errors(users(f"name: a, {KEYS}, buckets: [nowhere]"))], ["users[0].buckets[0]"])
        self.assertEqual([*errors(users("name: a, buckets: [photos]"))], ["users[0].credentials"])
        taken = KEYS.replace("AK", "PHOTOSKEY")
        self.assertEqual(
            [*errors(users(f"name: a, {taken}, buckets: [photos]"))],
            ["users[0].credentials[0].access_key_id"],
        )
        twice = users(
            f"name: a, {KEYS}, buckets: [photos]", f"name: a, {KEYS.replace('AK', 'BK')}, buckets: [photos]"
        )
        self.assertEqual([*errors(twice)], ["users[1].name"])

    def test_powerless(self) -> None:
        """A user who can do nothing is worth a warning."""
        self.assertEqual([*warnings(load(users(f"name: a, {KEYS}"), {}))], ["users[0]"])


class BackendTests(SynchronousTestCase):
    """Backends by type, and where they store."""

    def backends(self, *entries: str) -> str:
        """A document with these backends."""
        return SERVER + BUCKETS + "backends:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)

    def test_needed(self) -> None:
        """Without a backend nothing can be stored."""
        self.assertEqual([*errors(SERVER + BUCKETS)], ["backends"])

    def test_types(self) -> None:
        """Each type needs its own keys and refuses another's."""
        self.assertEqual([*errors(self.backends("type: directory"))], ["backends[0].path"])
        self.assertEqual(
            [*errors(self.backends("type: s3"))],
            [f"backends[0].{key}" for key in ("endpoint", "bucket", "access_key_id", "secret_access_key")],
        )
        found = errors(self.backends("type: directory, path: /a, bucket: b"))
        self.assertEqual(
            found, {"backends[0].bucket": "is for type s3, and this is type directory: change one of them"}
        )
        self.assertEqual([*errors(MINIMAL + "    path: /a\n")], ["backends[0].path"])

    def test_memory(self) -> None:
        """Memory works, with a warning about what it is."""
        self.assertEqual([*warnings(load(self.backends("type: memory"), {}))], ["backends[0].type"])

    def test_default_chain(self) -> None:
        """With credentials from elsewhere, the file has none."""
        entry = "endpoint: 'https://s3.example.net', bucket: b, credential_source: default_chain"
        self.assertEqual(errors(self.backends(entry)), {})

    def test_names(self) -> None:
        """Names are unique, those that come from the index included."""
        found = errors(
            self.backends("type: directory, path: /a", "type: directory, path: /b, name: backend-0")
        )
        self.assertEqual([*found], ["backends[1].name"])

    def test_same_place(self) -> None:
        """Two backends do not share a bucket or a directory, nor live inside each other's."""
        s3 = "endpoint: '{}', bucket: b, access_key_id: a, secret_access_key: s"
        for first, second in (
            ("type: directory, path: /a", "type: directory, path: /a/"),
            ("type: directory, path: /a", "type: directory, path: /a/../a/b"),
            ("type: directory, path: /a/b", "type: directory, path: /a"),
            (s3.format("https://x"), s3.format("https://X/")),
        ):
            self.assertEqual([*errors(self.backends(first, second))], ["backends[1]"], second)
        self.assertEqual(errors(self.backends("type: directory, path: /a", "type: directory, path: /ab")), {})

    def test_ledger_inside(self) -> None:
        """The ledger is in no backend's directory: deleting strays there would delete it."""
        for directory, ledger in (
            ("/a", "/a/ledger.db"),
            ("/a/", "/b/../a/b/ledger.db"),
            ("a", "./a/ledger.db"),
            (".", "ledger.db"),
        ):
            text = self.backends(f"type: directory, path: {directory}") + f"database: {{path: {ledger}}}\n"
            self.assertEqual([*errors(text)], ["database.path"], ledger)
        for directory, ledger in (("/a", "/ab/ledger.db"), ("/a/b", "/a/ledger.db"), (".", "/a/ledger.db")):
            text = self.backends(f"type: directory, path: {directory}") + f"database: {{path: {ledger}}}\n"
            self.assertEqual(errors(text), {}, ledger)
        postgres = "database: {path: /a/ledger.db, host: db, database: ledger, user: me}\n"
        self.assertEqual(errors(self.backends("type: directory, path: /a") + postgres), {})

    def test_ledger_without_file(self) -> None:
        """What SQLite would keep in memory is no ledger."""
        self.assertEqual([*errors(MINIMAL + "database: {path: ':memory:'}\n")], ["database.path"])

    def test_unsigned_payload(self) -> None:
        """Unless said otherwise, bodies are unsigned over TLS and signed without it."""
        plain = MINIMAL.replace("https:", "http:")
        self.assertFalse(load(plain, {}).config.backends[0].sends_unsigned_payload)
        forced = load(plain + "    unsigned_payload: true\n", {}).config.backends[0]
        self.assertTrue(forced.sends_unsigned_payload)

    def test_ca_file_over_http(self) -> None:
        """Authorities for an endpoint without TLS are worth a warning."""
        plain = MINIMAL.replace("https:", "http:") + "    ca_file: /ca.pem\n"
        self.assertEqual([*warnings(load(plain, {}))], ["backends[0].ca_file"])


class ProxyTests(SynchronousTestCase):
    """Who is believed to speak for others."""

    def test_everybody(self) -> None:
        """Whoever believes everybody hears what that means."""
        text = MINIMAL + "rate_limit: {trusted_proxies: [10.0.0.0/8, unix, 0.0.0.0/0, '::/0']}\n"
        paths = [f"rate_limit.trusted_proxies[{index}]" for index in (2, 3)]
        self.assertEqual([*warnings(load(text, {}))], paths)


class ServerTests(SynchronousTestCase):
    """The endpoint."""

    def server(self, *lines: str) -> str:
        """A document with these keys of the server."""
        return MINIMAL.replace(SERVER, SERVER + "".join(f"  {line}\n" for line in lines))

    def test_tls(self) -> None:
        """Certificate and key come together; authorities for clients need both."""
        self.assertEqual([*errors(self.server("tls: {cert_file: c}"))], ["server.tls.key_file"])
        self.assertEqual([*errors(self.server("tls: {key_file: k}"))], ["server.tls.cert_file"])
        self.assertEqual([*errors(self.server("tls: {client_ca_file: a}"))], ["server.tls.client_ca_file"])
        tls = load(self.server("tls: {cert_file: c, key_file: k, min_version: 1.3}"), {}).config.server.tls
        self.assertEqual((tls.enabled, tls.min_version), (True, "1.3"))

    def test_half_a_split(self) -> None:
        """A limit for reads alone limits nothing, and says so."""
        found = warnings(load(self.server("max_concurrent_reads: 10"), {}))
        self.assertEqual([*found], ["server.max_concurrent_reads"])
        both = load(self.server("max_concurrent_reads: 10", "max_concurrent_writes: 5"), {})
        self.assertEqual((both.warnings, both.config.server.limits_apart), ((), True))

    def test_domains(self) -> None:
        """Base names are compared without regard to case."""
        self.assertEqual(
            [*errors(self.server("domains: [s3.example.net, S3.example.net]"))], ["server.domains[1]"]
        )

    def test_workers(self) -> None:
        """A number of processes, or as many as there are cores; not with a backend in memory."""
        for text, number in (("1", 1), ("4", 4), ("auto", AUTO)):
            loaded = load(self.server(f"workers: {text}"), {})
            self.assertEqual(loaded.config.server.workers, number)
        for text in ("0", "-1", "257", "many", "1.5"):
            refused = errors(self.server(f"workers: {text}"))
            self.assertIn("is neither auto nor a number from 1 to 256", refused["server.workers"])
        in_memory = "backends:\n  - {name: ram, type: memory}\n"
        for text in ("2", "auto"):
            refused = errors(SERVER + f"  workers: {text}\n" + BUCKETS + in_memory)
            self.assertIn('a "ram" of its own in its memory', refused["server.workers"])
        self.assertEqual(errors(SERVER + "  workers: 1\n" + BUCKETS + in_memory), {})


class ModeTests(SynchronousTestCase):
    def test_alone(self) -> None:
        """SQLite is for one process: half of the work would be left undone, which may be meant."""
        for mode in ("api", "worker"):
            (warning,) = load(f"mode: {mode}\n" + MINIMAL, {}).warnings
            self.assertIn("SQLite is for one process", str(warning))
        self.assertEqual(load("mode: all\n" + MINIMAL, {}).warnings, ())


class WritePathTests(SynchronousTestCase):
    """How objects get to the backends."""

    def test_names_rest(self) -> None:
        """A name that is unclear rests for some time, however short."""
        self.assertEqual([*errors(MINIMAL + "write_path: {quiet_period: 0s}\n")], ["write_path.quiet_period"])
        short = load(MINIMAL + "write_path: {quiet_period: 20ms}\n", {}).config
        self.assertEqual(short.write_path.quiet_period, 0.02)


class FeatureTests(SynchronousTestCase):
    """Rules that hold for features that are off as well, so that they are right when switched on."""

    def test_encryption(self) -> None:
        """Keys are 32 bytes in Base64, and are not shown; chunks are a power of two."""
        found = errors(
            MINIMAL + "encryption: {master_key: hunter2, previous_keys: [hunter3], chunk_size: 5000}\n"
        )
        self.assertEqual(
            {*found}, {"encryption.chunk_size", "encryption.master_key", "encryption.previous_keys[0]"}
        )
        self.assertNotIn("hunter", str(found))

    def test_vault(self) -> None:
        """Vault needs one token."""
        vault = "vault: {address: 'http://v', key_name: k, token: t, token_file: f}"
        self.assertIn("encryption.vault", errors(MINIMAL + f"encryption: {{enabled: true, {vault}}}\n"))

    def test_cache(self) -> None:
        """One object fits into the cache."""
        self.assertEqual([*errors(MINIMAL + "cache: {max_size: 1MB}\n")], ["cache.max_object_size"])

    def test_lifecycle(self) -> None:
        """A prefix has one rule, and a rule has a prefix."""
        rules = "[{prefix: a/, expiration_days: 1}, {prefix: a/, expiration_days: 2}, {expiration_days: 0}]"
        self.assertEqual(
            {*errors(MINIMAL + f"lifecycle: {{rules: {rules}}}\n")} - {"lifecycle.rules"},
            {"lifecycle.rules[1].prefix", "lifecycle.rules[2].prefix", "lifecycle.rules[2].expiration_days"},
        )

    def test_notifications(self) -> None:
        """Events are named, and have their asterisk at the end."""
        endpoints = "[{url: 'http://x'}, {url: 'http://y', events: ['a*b']}]"
        self.assertEqual(
            {*errors(MINIMAL + f"notifications: {{endpoints: {endpoints}}}\n")} - {"notifications.endpoints"},
            {"notifications.endpoints[0].events", "notifications.endpoints[1].events[0]"},
        )

    def test_postgres(self) -> None:
        """PostgreSQL needs host, database and user, and no more idle connections than connections."""
        found = errors(MINIMAL + "database: {driver: postgres, max_conns: 5}\n")
        self.assertEqual(
            {*found},
            {"database.host", "database.database", "database.user", "database.min_conns"},
        )

    def test_ssl_mode(self) -> None:
        """How far the connection is protected is one of libpq's words."""
        found = errors(MINIMAL + "database: {host: h, database: d, user: u, ssl_mode: on}\n")
        self.assertEqual([*found], ["database.ssl_mode"])

    def test_sqlite_with_host(self) -> None:
        """Keys of the other database are worth a warning."""
        self.assertEqual(
            [*warnings(load(MINIMAL + "database: {driver: sqlite, host: h}\n", {}))], ["database.host"]
        )

    def test_admin_token(self) -> None:
        """What can be guessed is worth a warning, what no header can hold is an error; none is no API."""
        short, good = "0123456789abcde", "0123456789abcdef"
        for ui, path in (
            (f"admin_token: '{short}'", "ui.admin_token"),
            (f"admin_key: '{short}'", "ui.admin_key"),
            (f"admin_key: '{good}', admin_token: '{short}'", "ui.admin_token"),
        ):
            found = warnings(load(MINIMAL + f"ui: {{{ui}}}\n", {}))
            self.assertEqual([*found], [path])
            self.assertNotIn(short, str(found))
        for ui in ("admin_token: ''", f"admin_key: '{good}'", f"admin_key: '{short}', admin_token: '{good}'"):
            self.assertEqual([*warnings(load(MINIMAL + f"ui: {{{ui}}}\n", {}))], [])
        for token in ("ümlautümlautümlaut", f" {good}", f"{good}\\n"):
            self.assertEqual([*errors(MINIMAL + f'ui: {{admin_token: "{token}"}}\n')], ["ui.admin_token"])
