"""A process that writes to a ledger through another one, and says so, until that one has gone."""

from __future__ import annotations

import os
import socket
import sys
from typing import TypeVar

from attrs import define
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.workers.duties import sharing
from s3orchestrator.workers.ledger import SharedLedger
from s3orchestrator.workers.link import Handler, Link, join
from tests.contracts.ledger_victim import WRITERS, say, write
from tests.contracts.store_kit import Kit

R = TypeVar("R")

LEASE = 300.0


@define(eq=False)
class Child(SharedLedger):
    """The ledger of this process."""

    def built(self, kind: type[R], role: str) -> type[R]:
        return sharing(kind, role, self.change)


async def main(reactor: object, path: str, descriptor: str, run: str) -> None:
    answers: dict[str, Handler] = {}
    lost: Deferred[None] = Deferred()
    link = Link(answers, lambda: lost.callback(None), reactor)
    ledger = Child(path, reactor, link=link, lease=LEASE)
    answers.update(ledger.answers)
    join(link, socket.socket(fileno=int(descriptor)), reactor)
    kit = Kit(await ledger.open(), reactor)
    bucket = await kit.buckets.adopt("photos")
    say("ready")
    try:
        writers = range(WRITERS)
        await gatherResults([start(write(kit, bucket, writer, run)) for writer in writers]).addErrback(
            lambda failure: failure.value.subFailure.raiseException()
        )
    except StoreUnavailable:
        await lost
        say("lost")
        sys.stdin.readline()
        os._exit(0)


if __name__ == "__main__":
    react(main, sys.argv[1:])
