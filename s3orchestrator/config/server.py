"""The settings of the endpoint that clients talk to."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from s3orchestrator.config.addresses import Domain
from s3orchestrator.config.places import Place, PlaceText, parse_place
from s3orchestrator.config.scalars import (
    Duration,
    FileMode,
    Processes,
    Size,
    parse_duration,
    parse_size,
)
from s3orchestrator.config.settings import at_least, from_to_below, section, setting, several


@frozen(kw_only=True)
class CertificateConfig:
    """A certificate for the names that it is for; clients say which name they want (SNI)."""

    cert_file: str = setting("", doc="Certificate chain (PEM). Required.")
    key_file: str = setting("", doc="Private key (PEM). Required.")


@frozen(kw_only=True)
class TlsConfig:
    """TLS towards clients; on when a certificate and a key are given."""

    cert_file: str = setting("", doc="Certificate chain (PEM). Needs ``key_file``.")
    key_file: str = setting("", doc="Private key (PEM). Needs ``cert_file``.")
    min_version: Literal["1.2", "1.3"] = setting("1.2", doc="The oldest version of TLS that is spoken.")
    client_ca_file: str = setting(
        "",
        doc="Authorities for clients (PEM). When set, every client must show a certificate of theirs, also "
        "one that asks for ``/health``.",
    )
    certificates: tuple[CertificateConfig, ...] = several(
        doc="More certificates. A client that asks for a name that one of them is for is shown that one, any "
        "other the one above."
    )
    on_socket: bool = setting(
        True,
        doc="Let OpenSSL read and write the socket itself. Without, what is encrypted is copied twice in "
        "memory, which costs more; there is no other difference.",
    )

    @property
    def enabled(self) -> bool:
        """Whether clients speak TLS to us."""
        return bool(self.cert_file and self.key_file)


@frozen(kw_only=True)
class ListenerConfig:
    """One of several places to listen at."""

    address: PlaceText = setting(
        "",
        doc="As ``server.listen_addr``. Required.",
    )
    socket_mode: FileMode = setting(
        0o660, doc="Who may connect to a Unix socket: permissions of its file, as for ``chmod``."
    )
    tls: TlsConfig = section(TlsConfig)

    @property
    def place(self) -> Place:
        """`address`, taken apart."""
        return parse_place(self.address)


@frozen(kw_only=True)
class ServerConfig:
    """The endpoint that clients talk to."""

    listen_addr: PlaceText = setting(
        "",
        example="127.0.0.1:9000",
        doc="Where to listen: ``host:port``; ``:port`` for every IPv4 address, ``[::]:port`` for every "
        "address of either kind; ``unix:/path`` for a Unix socket; ``systemd:name`` for the sockets of that "
        "name that systemd opens. Required, unless there are ``listeners``.",
    )
    workers: Processes = setting(
        1,
        doc="How many processes serve clients. ``1``: this one does all there is to do. More: it only keeps "
        "them going and does what is done in the background. ``auto``: as many as this machine has cores.",
    )
    log_level: Literal["debug", "info", "warn", "error"] = setting(
        "info", reloadable=True, doc="The least that is logged; the audit trail always is."
    )
    max_object_size: Size = setting(
        parse_size("5GB"),
        zero_is_default=True,
        doc="The largest body of one upload request; larger files use multipart.",
    )
    max_concurrent_requests: int = setting(
        1000,
        check=at_least(1),
        zero_is_default=True,
        doc="Requests served at a time, unless reads and writes are limited apart.",
    )
    max_concurrent_reads: int = setting(
        0,
        check=at_least(0),
        doc="Reads served at a time. Counts when ``max_concurrent_writes`` is set as well.",
    )
    max_concurrent_writes: int = setting(
        0,
        check=at_least(0),
        doc="Writes served at a time. Counts when ``max_concurrent_reads`` is set as well.",
    )
    load_shed_threshold: float = setting(
        0.0,
        check=from_to_below(0, 1),
        doc="Share of the limits above which some requests are refused already; 0 for never.",
    )
    admission_wait: Duration = setting(
        0.0, doc="How long a request may wait for its turn before it is refused."
    )
    backend_timeout: Duration = setting(
        parse_duration("30s"),
        zero_is_default=True,
        doc="How long a backend may take to accept a connection, and to begin its answer. "
        "At most ``write_timeout``.",
    )
    read_header_timeout: Duration = setting(
        parse_duration("10s"),
        zero_is_default=True,
        doc="How long the headers of a request may take to arrive. At most ``read_timeout``.",
    )
    read_timeout: Duration = setting(
        parse_duration("5m"),
        zero_is_default=True,
        doc="The longest silence while a body arrives; the whole may take as long as it keeps moving.",
    )
    write_timeout: Duration = setting(
        parse_duration("5m"),
        zero_is_default=True,
        doc="The longest silence while a response leaves; the whole may take as long as it keeps moving.",
    )
    idle_timeout: Duration = setting(
        parse_duration("120s"),
        zero_is_default=True,
        doc="How long a connection is kept between two requests.",
    )
    shutdown_delay: Duration = setting(
        0.0,
        reloadable=True,
        doc="How long to go on serving after being told to stop, while ``/health/ready`` already says no, so "
        "that balancers can notice.",
    )
    splice: bool = setting(
        True,
        doc="Let the kernel move large bodies between a client and a backend where nobody has to look at the "
        "bytes, and neither side speaks TLS.",
    )
    domains: tuple[Domain, ...] = several(
        doc="Base names for virtual-hosted addressing: with ``s3.example.net``, a request to "
        "``photos.s3.example.net`` means the bucket ``photos``."
    )
    tls: TlsConfig = section(TlsConfig)
    listeners: tuple[ListenerConfig, ...] = several(
        doc="Several places to listen at, each with or without TLS of its own, instead of ``listen_addr`` "
        "and ``tls``."
    )

    @property
    def places(self) -> tuple[ListenerConfig, ...]:
        """Where to listen, whichever way it was written."""
        return self.listeners or (ListenerConfig(address=self.listen_addr, tls=self.tls),)

    @property
    def limits_apart(self) -> bool:
        """Whether reads and writes have limits of their own, instead of `max_concurrent_requests`."""
        return self.max_concurrent_reads > 0 and self.max_concurrent_writes > 0
