"""
Every setting there is: the root, and the sections that serving objects needs.

Attributes are named like the keys of the file. Sizes are bytes and times seconds, whatever the file used.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from s3orchestrator.config.addresses import Url
from s3orchestrator.config.features import (
    BackendCircuitBreakerConfig,
    CacheConfig,
    CircuitBreakerConfig,
    EncryptionConfig,
    NotificationsConfig,
    RateLimitConfig,
    RedisConfig,
    TelemetryConfig,
    UiConfig,
)
from s3orchestrator.config.scalars import Duration, Secret, Size, parse_duration, parse_size
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.config.settings import (
    Check,
    NotBuilt,
    at_least,
    more_than,
    required,
    section,
    setting,
    several,
)
from s3orchestrator.config.upkeep import (
    PLACEMENTS,
    CleanupQueueConfig,
    IntegrityConfig,
    LifecycleConfig,
    RebalanceConfig,
    ReconcileConfig,
    ReplicationConfig,
    UsageFlushConfig,
)


@frozen(kw_only=True)
class CredentialConfig:
    """A way for clients to prove who they are: a key pair, or a token."""

    access_key_id: str = setting(
        "", reloadable=True, example="PHOTOSKEY", doc="Name of the key pair; unique over buckets and users."
    )
    secret_access_key: Secret = setting(
        Secret(""), reloadable=True, example='"${PHOTOS_SECRET}"', doc="The secret of the key pair."
    )
    token: Secret = setting(
        Secret(""), reloadable=True, doc="For ``X-Proxy-Token``, as older clients send it; unique."
    )


@frozen(kw_only=True)
class BucketConfig:
    """A bucket that clients see. Out of the file, it is no longer served; its objects stay."""

    name: str = required(reloadable=True, example="photos", doc="Its name, without ``/``; unique.")
    max_multipart_uploads: int = setting(
        0, check=at_least(0), reloadable=True, doc="Multipart uploads open at a time; 0 for any number."
    )
    credentials: tuple[CredentialConfig, ...] = several(
        reloadable=True, doc="Who may use it, and nothing else. May be empty if a user lists the bucket."
    )


@frozen(kw_only=True)
class KeyPairConfig:
    """A user's key pair."""

    access_key_id: str = required(
        reloadable=True, example="ALICEKEY", doc="Name of the key pair; unique over buckets and users."
    )
    secret_access_key: Secret = required(
        reloadable=True, example='"${ALICE_SECRET}"', doc="The secret of the key pair."
    )


@frozen(kw_only=True)
class UserConfig:
    """Somebody who is not tied to one bucket."""

    name: str = required(reloadable=True, example="alice", doc="Who it is; unique.")
    credentials: tuple[KeyPairConfig, ...] = several(reloadable=True, doc="Key pairs; at least one.")
    create_buckets: bool = setting(
        False,
        reloadable=True,
        example="true",
        doc="Whether this user may create buckets; who creates one owns it, and may delete it.",
    )
    buckets: tuple[str, ...] = several(
        reloadable=True, example="[photos]", doc="Buckets of this file that this user may use."
    )
    access: Literal["read", "write", "full"] = setting(
        "full",
        reloadable=True,
        doc="What this user may do in them: ``read``; ``write``, which also stores and overwrites; or "
        "``full``, which also deletes.",
    )


@frozen(kw_only=True)
class DatabaseConfig:
    """The ledger: what objects there are, and where."""

    driver: Literal["sqlite", "postgres"] | None = setting(
        None,
        doc="Unless set: ``postgres`` if a host is given, else ``sqlite``.",
    )
    path: str = setting(
        "s3-orchestrator.db",
        example="/var/lib/s3orchestrator/ledger.db",
        zero_is_default=True,
        doc="The file of the SQLite database; in no directory where a backend stores.",
    )
    host: str = setting(
        "",
        doc="Where PostgreSQL (14 or newer) is: a name, an address, or the folder of its socket. Several, "
        "separated by commas, are tried in order until one can be written to.",
    )
    port: int = setting(5432, check=at_least(1), zero_is_default=True, doc="Its port.")
    database: str = setting("", doc="The name of the database there. It must be encoded in UTF8.")
    user: str = setting("", doc="Whom to log in as.")
    password: Secret = setting(Secret(""), doc="With which password.")
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = setting(
        "require",
        zero_is_default=True,
        doc="How far the connection is protected, as libpq's ``sslmode``: only the last two find out "
        "whether it is the right server, by the certificates that ``PGSSLROOTCERT`` names.",
    )
    max_conns: int = setting(
        50,
        check=at_least(1),
        zero_is_default=True,
        doc="Connections at most, and one more that listens to other instances.",
    )
    min_conns: int = setting(10, check=at_least(0), doc="Connections kept open.")
    max_conn_lifetime: Duration = setting(
        parse_duration("5m"), zero_is_default=True, doc="Age at which a connection is replaced."
    )

    @property
    def engine(self) -> Literal["sqlite", "postgres"]:
        """`driver`, or what follows from `host` where it is not set."""
        return self.driver or ("postgres" if self.host else "sqlite")


@frozen(kw_only=True)
class BackendConfig:
    """A place that objects are stored in."""

    name: str = setting(
        "", example="disk-one", doc="What it is called, in the ledger too; ``backend-<index>`` unless set."
    )
    type: Literal["s3", "directory", "memory"] = setting(
        "s3",
        example="directory",
        doc="``s3``, any service that speaks S3; ``directory``, files below ``path``; ``memory``, for tests, "
        "which forgets everything when it stops.",
    )
    path: str = setting(
        "",
        only_for="directory",
        example="/var/lib/s3orchestrator/disk-one",
        doc="The directory. Required for that type.",
    )
    endpoint: Url = setting("", only_for="s3", doc="URL of the service. Required for that type.")
    region: str = setting(
        "us-east-1",
        only_for="s3",
        zero_is_default=True,
        doc="Region to sign for; some services want ``auto``.",
    )
    bucket: str = setting("", only_for="s3", doc="The bucket there. Required for that type.")
    credential_source: Literal["static", "default_chain"] = setting(
        "static",
        only_for="s3",
        doc="``static``: the two keys below. ``default_chain``: environment, shared files, SSO or instance "
        "role, as AWS tools find them; then the keys must be absent.",
    )
    access_key_id: str = setting("", only_for="s3", doc="Key to sign with.")
    secret_access_key: Secret = setting(Secret(""), only_for="s3", doc="Its secret.")
    force_path_style: bool = setting(
        False,
        only_for="s3",
        doc="Name the bucket in the path and not in the host, as MinIO and radosgw want it.",
    )
    unsigned_payload: bool | None = setting(
        None,
        only_for="s3",
        doc="Send bodies without signing their hash. Unless set: yes over ``https``, no over ``http``.",
    )
    disable_checksum: bool = setting(
        False, only_for="s3", doc="Send no checksum headers (Google Cloud Storage)."
    )
    strip_sdk_headers: bool = setting(
        False, only_for="s3", doc="Send no headers that only AWS tools send (Google Cloud Storage)."
    )
    ca_file: str = setting(
        "", only_for="s3", doc="Authorities (PEM) to trust for this backend instead of the system's."
    )
    quota_bytes: Size = setting(
        0, reloadable=True, example="20GB", doc="How much may be stored here; 0 for as much as there is room."
    )
    max_object_size: Size = setting(0, doc="Larger objects go elsewhere; 0 for any size.")
    api_request_limit: int = setting(
        0,
        check=at_least(0),
        reloadable=True,
        doc="Requests per calendar month (UTC); 0 for any number.",
    )
    egress_byte_limit: Size = setting(
        0,
        reloadable=True,
        doc="Bytes read per calendar month (UTC); 0 for any.",
    )
    ingress_byte_limit: Size = setting(
        0,
        reloadable=True,
        doc="Bytes written per calendar month (UTC); 0 for any.",
    )

    @property
    def sends_unsigned_payload(self) -> bool:
        """`unsigned_payload`, or what follows from the endpoint where it is not set."""
        if self.unsigned_payload is None:
            return self.endpoint.startswith("https:")
        return self.unsigned_payload

    @property
    def has_usage_limits(self) -> bool:
        """Whether there is a monthly limit of any kind."""
        return bool(self.api_request_limit or self.egress_byte_limit or self.ingress_byte_limit)

    @property
    def is_unlimited(self) -> bool:
        """Whether there is no quota."""
        return self.quota_bytes == 0


@frozen(kw_only=True)
class PendingPatternConfig:
    """Writing down what is about to be stored before it is. Always so here."""

    enabled: bool = setting(
        True,
        check=Check("true: no write may reach a backend before the ledger knows of it", bool),
        doc="Cannot be turned off: no write reaches a backend before the ledger knows of it.",
    )
    reaper_interval: Duration = setting(
        parse_duration("1m"),
        reloadable=True,
        zero_is_default=True,
        doc="Time between looks for abandoned writes.",
    )
    min_age: Duration = setting(
        parse_duration("5m"),
        reloadable=True,
        zero_is_default=True,
        doc="Age at which a write may count as abandoned.",
    )


@frozen(kw_only=True)
class WritePathConfig:
    """How objects get to the backends."""

    replay_limit: Size = setting(
        parse_size("1MB"),
        doc="How much of a body is kept so that another backend can be tried when one fails half-way.",
    )
    quiet_period: Duration = setting(
        parse_duration("1h"),
        check=more_than(0),
        doc="How long a name on a backend rests after a write or delete of it went unanswered, before it is "
        "used again.",
    )
    pending_pattern: PendingPatternConfig = section(PendingPatternConfig)


@frozen(kw_only=True)
class MultipartConfig:
    """Multipart uploads."""

    stale_after: Duration = setting(
        parse_duration("24h"),
        reloadable=True,
        zero_is_default=True,
        doc="An upload that got no part for this long is given up.",
    )


@frozen(kw_only=True)
class Config:
    """The whole file."""

    mode: Literal["all", "api", "worker"] = setting(
        "all",
        doc="What this process does: serve clients, work in the background, or all. ``--mode`` wins over it.",
    )
    server: ServerConfig = section(ServerConfig)
    buckets: tuple[BucketConfig, ...] = several(
        reloadable=True, doc="Buckets of this file. At least one, unless a user may create some."
    )
    users: tuple[UserConfig, ...] = several(
        reloadable=True, doc="People and programs that use several buckets."
    )
    database: DatabaseConfig = section(DatabaseConfig)
    routing_strategy: PLACEMENTS = setting(
        "pack",
        doc="Where a new object goes: ``pack`` fills the backends in the order of this file, ``spread`` "
        "takes the one that is least full.",
    )
    backends: tuple[BackendConfig, ...] = several(doc="Where objects are stored. At least one.")
    write_path: WritePathConfig = section(WritePathConfig)
    multipart: MultipartConfig = section(MultipartConfig)
    replication: ReplicationConfig = section(ReplicationConfig)
    rebalance: RebalanceConfig = section(RebalanceConfig)
    cleanup_queue: CleanupQueueConfig = section(CleanupQueueConfig)
    usage_flush: UsageFlushConfig = section(UsageFlushConfig)
    lifecycle: LifecycleConfig = section(LifecycleConfig)
    reconcile: ReconcileConfig = section(ReconcileConfig)
    integrity: IntegrityConfig = section(IntegrityConfig)
    rate_limit: RateLimitConfig = section(RateLimitConfig)
    circuit_breaker: CircuitBreakerConfig = section(CircuitBreakerConfig)
    backend_circuit_breaker: BackendCircuitBreakerConfig = section(BackendCircuitBreakerConfig)
    telemetry: TelemetryConfig = section(TelemetryConfig)
    encryption: EncryptionConfig = section(EncryptionConfig)
    cache: CacheConfig = section(CacheConfig)
    redis: RedisConfig | None = setting(
        None,
        built=NotBuilt("sharing counters through Redis", off=None, instead="take the section out"),
        doc="Usage counters shared by several instances.",
    )
    notifications: NotificationsConfig = section(NotificationsConfig)
    ui: UiConfig = section(UiConfig)
