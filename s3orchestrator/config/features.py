"""
Sections of what is switched on apart from serving objects: limits, metrics, encryption, dashboard, and so on.

Those whose feature is not there yet are declared all the same, so that a file that has them switched off is
accepted and one that counts on them is not.
"""

from __future__ import annotations

from attrs import frozen

from s3orchestrator.config.addresses import AddressText, Proxy, Url
from s3orchestrator.config.places import PlaceText
from s3orchestrator.config.scalars import Duration, Secret, Size, parse_duration, parse_size
from s3orchestrator.config.settings import (
    NotBuilt,
    at_least,
    between,
    more_than,
    required,
    section,
    setting,
    several,
)


@frozen(kw_only=True)
class RateLimitConfig:
    """How many requests one address may send; all of an IPv6 /64 are one."""

    enabled: bool = setting(
        False,
        reloadable=True,
        doc="Answer ``429 SlowDown`` to the ones above, except below ``/health`` and ``/admin/api``.",
    )
    requests_per_sec: float = setting(
        100.0, check=more_than(0), reloadable=True, doc="Requests each address may send, per second."
    )
    burst: int = setting(200, check=more_than(0), reloadable=True, doc="Requests it may send at once.")
    cleanup_interval: Duration = setting(
        parse_duration("1m"),
        reloadable=True,
        zero_is_default=True,
        doc="Time between forgetting quiet addresses.",
    )
    cleanup_max_age: Duration = setting(
        parse_duration("5m"),
        reloadable=True,
        zero_is_default=True,
        doc="How long a quiet address is remembered.",
    )
    trusted_proxies: tuple[Proxy, ...] = several(
        reloadable=True,
        doc="Networks whose ``X-Forwarded-For`` is believed, also while the limit is off; ``unix`` for who "
        "connects through a Unix socket.",
    )


@frozen(kw_only=True)
class CircuitBreakerConfig:
    """What happens while the ledger's database is away: objects are read without it, nothing is written."""

    failure_threshold: int = setting(
        3,
        check=at_least(1),
        zero_is_default=True,
        doc="Failures in a row after which the database is left alone.",
    )
    open_timeout: Duration = setting(
        parse_duration("15s"),
        zero_is_default=True,
        doc="Time until it is tried again, and between tries; up to a quarter is added by chance.",
    )
    cache_ttl: Duration = setting(
        parse_duration("60s"),
        zero_is_default=True,
        doc="How long the place where an object was found is remembered, give or take a fifth.",
    )
    parallel_broadcast: bool = setting(
        False,
        doc="Ask all backends for an object at once rather than one after the other.",
    )
    degraded_broadcast_parallelism: int = setting(
        0,
        check=at_least(0),
        doc="With ``parallel_broadcast``: backends asked at a time for one object; 0 for all of them.",
    )
    allow_stale: bool = setting(
        False,
        doc="Answer also when a backend does not, with the newest that the others have: it may be an "
        "older object, or a deleted one. Otherwise such reads are refused.",
    )


@frozen(kw_only=True)
class BackendCircuitBreakerConfig:
    """Leaving a backend alone that keeps failing."""

    enabled: bool = setting(False, doc="One breaker for each backend.")
    failure_threshold: int = setting(
        5,
        check=at_least(1),
        zero_is_default=True,
        doc="Failures in a row that open the breaker: no answer, or one that it cannot answer now.",
    )
    open_timeout: Duration = setting(
        parse_duration("5m"),
        zero_is_default=True,
        doc="Time until the backend is tried again, with one request; up to a quarter is added at random.",
    )


@frozen(kw_only=True)
class MetricsConfig:
    """Numbers for Prometheus."""

    enabled: bool = setting(False, doc="Serve them, in the formats that Prometheus reads.")
    path: str = setting(
        "/metrics",
        zero_is_default=True,
        doc="Where. Without ``listen`` it is beside the buckets, so it must not begin with what may be one, "
        "and whoever reaches the endpoint may read it: it asks for no credentials.",
    )
    listen: PlaceText = setting(
        "",
        doc="A listener of their own, such as ``127.0.0.1:9105``, with nothing but them and ``/health``; "
        "then they are not served where clients are. Recommended.",
    )


@frozen(kw_only=True)
class TracingConfig:
    """Spans for an OpenTelemetry collector."""

    enabled: bool = setting(False, built=NotBuilt("tracing"), doc="Send them.")
    endpoint: AddressText = setting("", doc="The collector's gRPC address; required when enabled.")
    insecure: bool = setting(False, doc="Talk to it without TLS.")
    sample_rate: float = setting(1.0, check=between(0, 1), doc="Share of the requests that are traced.")


@frozen(kw_only=True)
class TelemetryConfig:
    """What is told to monitoring systems."""

    metrics: MetricsConfig = section(MetricsConfig)
    tracing: TracingConfig = section(TracingConfig)


@frozen(kw_only=True)
class VaultConfig:
    """A HashiCorp Vault whose Transit engine keeps the master key."""

    address: Url = required(example="https://vault.example.net:8200", doc="Where it is.")
    key_name: str = required(example="s3orchestrator", doc="The Transit key.")
    token: Secret = setting(Secret(""), doc="The token; this or ``token_file``.")
    token_file: str = setting("", doc="A file with the token, readable by nobody else.")
    mount_path: str = setting("transit", zero_is_default=True, doc="Where the Transit engine is mounted.")
    ca_cert: str = setting("", doc="A file with the authority that signed Vault's certificate.")
    renew_interval: Duration = setting(
        parse_duration("5m"), zero_is_default=True, doc="Time between renewals of the token."
    )


@frozen(kw_only=True)
class EncryptionConfig:
    """Encrypting objects before a backend sees them."""

    enabled: bool = setting(
        False, built=NotBuilt("encryption"), doc="Needs exactly one source of the master key."
    )
    chunk_size: Size = setting(
        65536, check=between(4096, 1048576), doc="Plaintext per chunk; a power of two."
    )
    master_key: Secret = setting(Secret(""), doc="The key: 32 bytes in Base64.")
    master_key_file: str = setting("", doc="A file with the key: 32 raw bytes.")
    vault: VaultConfig | None = setting(None, doc="A Vault that keeps the key.")
    previous_keys: tuple[Secret, ...] = several(
        doc="Earlier keys, in Base64; they still open what they sealed."
    )


@frozen(kw_only=True)
class CacheConfig:
    """Keeping small objects in memory."""

    enabled: bool = setting(False, built=NotBuilt("the object cache"), doc="Keep them.")
    max_size: Size = setting(parse_size("256MB"), zero_is_default=True, doc="All of them together.")
    max_object_size: Size = setting(
        parse_size("10MB"), zero_is_default=True, doc="Each one; at most ``max_size``."
    )
    ttl: Duration = setting(parse_duration("5m"), zero_is_default=True, doc="How long one is kept.")


@frozen(kw_only=True)
class RedisConfig:
    """Usage counters shared by several instances."""

    address: AddressText = required(example="127.0.0.1:6379", doc="Where Redis is.")
    password: Secret = setting(Secret(""), doc="Its password.")
    db: int = setting(0, check=at_least(0), doc="The number of its database.")
    tls: bool = setting(False, doc="Talk TLS to it.")
    key_prefix: str = setting("s3orch", zero_is_default=True, doc="What our keys there start with.")
    failure_threshold: int = setting(
        3, check=at_least(1), zero_is_default=True, doc="Failures in a row until we count on our own."
    )
    open_timeout: Duration = setting(
        parse_duration("15s"), zero_is_default=True, doc="Time until Redis is tried again."
    )


@frozen(kw_only=True)
class EndpointConfig:
    """Somebody who is told of changes."""

    url: Url = required(example="https://hooks.example.net/objects", doc="Where events are posted.")
    events: tuple[str, ...] = several(
        example="[object.*]",
        doc="Which ones: names, or beginnings of names with a ``*`` after them. At least one.",
    )
    prefix: str = setting("", doc="Only objects whose key starts so.")
    secret: Secret = setting(Secret(""), doc="Signs each message (HMAC-SHA256).")
    timeout: Duration = setting(
        parse_duration("5s"), zero_is_default=True, doc="How long to wait for an answer."
    )
    max_retries: int = setting(3, check=at_least(0), doc="How often to try again.")


@frozen(kw_only=True)
class NotificationsConfig:
    """Telling others what changed."""

    endpoints: tuple[EndpointConfig, ...] = several(
        built=NotBuilt("notifications", off=(), instead="empty the list"), doc="Whom to tell."
    )


@frozen(kw_only=True)
class UiConfig:
    """The dashboard and the admin API."""

    enabled: bool = setting(False, built=NotBuilt("the dashboard"), doc="Serve the dashboard.")
    path: str = setting("/ui", zero_is_default=True, doc="Where.")
    admin_key: Secret = setting(
        Secret(""),
        doc="Name to log in with. Setting it, or ``admin_token``, serves the admin API, dashboard or not.",
    )
    admin_secret: Secret = setting(Secret(""), doc="Password to log in with, plain or as a bcrypt hash.")
    session_secret: Secret = setting(Secret(""), doc="Signs the cookies of the dashboard.")
    admin_token: Secret = setting(
        Secret(""),
        doc="Token for the admin API; ``admin_key`` unless set. Make it long and random: whoever has it "
        "may do everything an operator may.",
    )
    force_secure_cookies: bool = setting(False, doc="Mark cookies as secure behind a proxy that ends TLS.")

    @property
    def api_token(self) -> Secret:
        """What a caller of the admin API must show; empty where the API is off."""
        return self.admin_token or self.admin_key
