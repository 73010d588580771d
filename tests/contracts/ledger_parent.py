"""A process that has a ledger and lets others write to it, until somebody kills it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.workers.ledger_server import LedgerServer
from s3orchestrator.workers.link import Handler, Link, join
from tests.contracts.ledger_child import LEASE
from tests.contracts.ledger_victim import say
from tests.contracts.store_kit import Kit
from tests.contracts.store_linked import roles_of


async def main(reactor: object, path: str, run: str) -> None:
    """Begin as many children as there are pairs of pipes; they read and write where we do."""
    database = SqliteDatabase(path, reactor, lease=LEASE).open()
    kit = Kit(database, reactor)
    await kit.blobs.set_limits({"a": 1 << 40})
    await kit.blobs.reap(1000, 0)
    server = LedgerServer(database, lambda ledger: roles_of(Kit(ledger, reactor)))
    ours, theirs = socket.socketpair()
    answers: dict[str, Handler] = {}
    gone: Deferred[None] = Deferred()
    link = Link(answers, lambda: gone.callback(None), reactor)
    client = server.admit(link.tell)
    answers.update(client.answers)
    join(link, ours, reactor)
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.contracts.ledger_child", path, str(theirs.fileno()), run],
        pass_fds=[theirs.fileno(), database.held],
    )
    theirs.close()
    say("child", child.pid)
    await gone
    child.wait()
    await server.gone(client)
    say("doomed", await kit.blobs.reap(1000, 0))
    say("findings", *await kit.findings())
    os._exit(0)


if __name__ == "__main__":
    react(main, sys.argv[1:])
