"""What must hold between the settings of listeners and of TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address

from s3orchestrator.config.addresses import Address
from s3orchestrator.config.places import UnixSocket
from s3orchestrator.config.problems import Problems
from s3orchestrator.config.sections import Config
from s3orchestrator.config.server import CertificateConfig, ListenerConfig, TlsConfig

SHORT, LIST, TLS = "server.listen_addr", "server.listeners", "server.tls"


def listeners_of(config: Config) -> Iterator[tuple[str, str, ListenerConfig]]:
    """Each listener, with the paths of its address and of its TLS."""
    for index, listener in enumerate(config.server.listeners):
        yield f"{LIST}[{index}].address", f"{LIST}[{index}].tls", listener
    if not config.server.listeners:
        yield SHORT, TLS, config.server.places[0]


def _one_way(config: Config, problems: Problems) -> None:
    server = config.server
    if server.listeners and server.listen_addr:
        problems.error(LIST, "cannot stand beside listen_addr: write that as one of them", using=[SHORT])
    if server.listeners and server.tls != TlsConfig():
        problems.error(
            TLS, "belongs to listen_addr: write it as tls of those listeners that speak TLS", using=[LIST]
        )


def _addresses(config: Config, problems: Problems) -> None:
    for path, _, listener in listeners_of(config):
        if not listener.address:
            name = path.rpartition(".")[2]
            problems.error(path, f"is required: write {name}: 127.0.0.1:9000", using=[path, LIST])
        elif listener.socket_mode != ListenerConfig().socket_mode and not _is_unix(listener):
            problems.warn(f"{path.rpartition('.')[0]}.socket_mode", "has no effect: this is no Unix socket")
    problems.unique(
        (path, listener.address) for path, _, listener in listeners_of(config) if not _is_any_port(listener)
    )


def _overlaps(config: Config, problems: Problems) -> None:
    """Refuse an address beside every address of its kind with the same port: that one is taken by then."""
    everywhere: dict[tuple[int, int], str] = {}
    named = []
    for path, _, listener in listeners_of(config):
        if _is_any_port(listener) or not isinstance(place := listener.place, Address):
            continue
        try:
            host = ip_address(place.host or "0.0.0.0")
        except ValueError:
            continue  # a name, which may be any address
        if host.is_unspecified:
            everywhere.setdefault((host.version, place.port), path)
        named.append((path, (host.version, place.port)))
    for path, which in named:
        wide = everywhere.get(which, path)
        if wide != path:
            problems.error(path, f"is among those of {wide}: leave one of them out", using=[path, wide])


def _is_any_port(listener: ListenerConfig) -> bool:
    if not listener.address:
        return True
    place = listener.place
    return isinstance(place, Address) and not place.port


def _is_unix(listener: ListenerConfig) -> bool:
    return isinstance(listener.place, UnixSocket)


def _tls(config: Config, problems: Problems) -> None:
    for _, path, listener in listeners_of(config):
        tls = listener.tls
        _pair(path, tls, problems)
        for name in ("client_ca_file", "certificates"):
            if getattr(tls, name) and not (tls.cert_file or tls.key_file):
                problems.error(
                    f"{path}.{name}",
                    "has no effect without TLS: give cert_file and key_file as well",
                    using=[f"{path}.cert_file", f"{path}.key_file"],
                )
        for index, more in enumerate(tls.certificates):
            below = f"{path}.certificates[{index}]"
            _pair(below, more, problems)
            if not (more.cert_file or more.key_file):
                problems.error(below, "needs cert_file and key_file", using=[below])


def _pair(path: str, pair: TlsConfig | CertificateConfig, problems: Problems) -> None:
    for name, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if getattr(pair, other) and not getattr(pair, name):
            problems.error(
                f"{path}.{name}",
                f"is required beside {other}: give both, or neither",
                using=[f"{path}.{other}"],
            )


RULES: tuple[Callable[[Config, Problems], None], ...] = (_one_way, _addresses, _overlaps, _tls)
