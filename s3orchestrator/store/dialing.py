"""Reaching a PostgreSQL server: its name, its address, and how a session must be set up."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import Any

import psycopg2
from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from zope.interface import implementer

from s3orchestrator.concurrency import deadline
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.store.connections import Connection, one_line

APPLICATION = "s3orchestrator"


@frozen
class Server:
    """
    Where the ledger is. `host` is a name, an address, or the folder of a socket.

    Several hosts, separated by commas, are tried in order until one may be written to.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    ssl_mode: str


@frozen
class Patience:
    """
    Seconds: for connecting, for a statement (the server ends it), for an answer (we hang up).

    `read` is for the answer to one read: a client waits for it, and can be served without.
    """

    connect: float = 5.0
    statement: float = 10.0
    # The server's word is better than none, so it comes first.
    answer: float = 12.0
    read: float = 3.0


ENDLESS = Patience(statement=0.0, answer=0.0)

# In milliseconds. A process that stops in the middle of a transaction must not hold its locks for ever.
_IDLE_IN_TRANSACTION = 60_000


async def dial(server: Server, reactor: Any, patience: Patience) -> Connection:
    """
    Connect and log in.

    :raises StoreUnavailable: nobody answers there, or not in time, or we are refused.
    """
    connection = Connection(reactor, patience.answer)
    hosts, addresses = await _addresses(server, reactor, patience.connect)
    timer = reactor.callLater(patience.connect, connection.close)
    try:
        await connection.open(
            host=hosts,
            hostaddr=addresses,
            port=server.port,
            dbname=server.database,
            user=server.user,
            password=server.password,
            sslmode=server.ssl_mode,
            gssencmode="disable",  # looking for a ticket would block
            client_encoding="UTF8",
            application_name=APPLICATION,
            target_session_attrs="read-write",
            keepalives_idle=30,
            tcp_user_timeout=10_000,
            options=_options(patience),
        )
    except (psycopg2.Error, ConnectionClosed) as error:
        late = not timer.active()
        connection.close()
        told = f"no connection within {patience.connect:g} s" if late else one_line(error)
        raise StoreUnavailable(f"ledger at {server.host}: {told}") from error
    finally:
        if timer.active():
            timer.cancel()
    return connection


def _options(patience: Patience) -> str:
    settings = {
        "statement_timeout": int(patience.statement * 1000),
        "idle_in_transaction_session_timeout": _IDLE_IN_TRANSACTION if patience.statement else 0,
        "synchronous_commit": "on",
        "default_transaction_isolation": r"read\ committed",
        "client_min_messages": "warning",
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())


async def _addresses(server: Server, reactor: Any, patience: float) -> tuple[str, str | None]:
    """Return libpq's `host` and `hostaddr`: left alone, it would block until a name server answers."""
    hosts: list[str] = []
    addresses: list[str] = []
    for host in server.host.split(","):
        found = [host]
        if host.startswith("/"):
            found = [""]
        elif not _is_address(host):
            late = StoreUnavailable(f"ledger: {host} was not resolved within {patience:g} s")
            found = await deadline(patience, _resolved(reactor, host), reactor, partial(_same, late))
        if not found:
            raise StoreUnavailable(f"ledger: there is no host {host}")
        hosts += [host] * len(found)
        addresses += found
    return ",".join(hosts), ",".join(addresses) if any(addresses) else None


def _same(error: Exception) -> Exception:
    return error


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(reactor: Any, host: str) -> Deferred[list[str]]:
    receiver = _Addresses()
    reactor.nameResolver.resolveHostName(receiver, host)
    return receiver.done


@implementer(IResolutionReceiver)
class _Addresses:
    """Gathers what a name stands for."""

    def __init__(self) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        pass

    def addressResolved(self, address: Any) -> None:
        self._found.append(address.host)

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(self._found)
