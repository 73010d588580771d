"""Tests for questions and answers between two processes, here over sockets of one."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable
from struct import pack
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from s3orchestrator.errors import BucketExists, StoreUnavailable, TransactionUnclear
from s3orchestrator.telemetry.ring import MOST_BYTES_EACH, Ring
from s3orchestrator.web.admin.calls import Ask
from s3orchestrator.web.admin.logs import MOST_ENTRIES, Logs
from s3orchestrator.workers.link import MAX_MESSAGE, FailedElsewhere, Link, join
from s3orchestrator.workers.values import dumps


class End:
    """One end of a link, with what it has been asked."""

    def __init__(self, answers: dict[str, Callable[..., object]]) -> None:
        from twisted.internet import reactor

        self.lost: Deferred[None] = Deferred()
        self.link = Link(answers, lambda: self.lost.callback(None), reactor)

    def join(self, ours: socket.socket) -> None:
        from twisted.internet import reactor

        join(self.link, ours, reactor)


def framed(data: bytes) -> bytes:
    return pack("!I", len(data)) + data


class LinkCase(TestCase):
    def setUp(self) -> None:
        self.answers: dict[str, Callable[..., object]] = {"echo": lambda *args: args}
        self.far = End(self.answers)
        self.near_answers: dict[str, Callable[..., object]] = {}
        self.near = End(self.near_answers)
        ours, theirs = socket.socketpair()
        self.near.join(ours)
        self.far.join(theirs)
        self.addCleanup(self.hang_up)

    async def hang_up(self) -> None:
        self.near.link.close()
        self.far.link.close()
        await self.near.lost
        await self.far.lost

    def ask(self, *args: Any, **how: Any) -> Deferred[Any]:
        return self.near.link.ask(*args, **how)

    def waiting(self) -> tuple[Deferred[None], Deferred[Any], Deferred[None]]:
        """Let "wait" be answered by a Deferred; returns what fires when asked, it, and what if cancelled."""
        asked, left = Deferred[None](), Deferred[None]()
        answer: Deferred[Any] = Deferred(lambda _: left.callback(None))

        def wait() -> Deferred[Any]:
            asked.callback(None)
            return answer

        self.answers["wait"] = wait
        return asked, answer, left


class AskTests(LinkCase):
    async def test_largest(self) -> None:
        """
        An operator is told the most that there can be, whichever process was asked.
        """
        ring = Ring()
        text = "\N{ROCKET}" * (MOST_BYTES_EACH // 4 - 20)
        ring.add([(0.0, "info", "main", json.dumps({"msg": text}, ensure_ascii=False))] * MOST_ENTRIES)
        logs = Logs(ring)

        async def tell() -> bytes:
            answer = await logs.show(Ask({}, {"limit": str(MOST_ENTRIES)}, {}))
            return json.dumps(answer.document).encode()

        self.answers["logs"] = tell
        told = await self.ask("logs")
        self.assertEqual(len(json.loads(told)["entries"]), MOST_ENTRIES)
        self.assertGreater(len(told), MAX_MESSAGE * 2 // 3)

    async def test_value(self) -> None:
        """
        An answer is what the other end returns.
        """
        self.assertEqual(await self.ask("echo", 1, b"x", {"a": (None,)}), (1, b"x", {"a": (None,)}))

    async def test_later(self) -> None:
        """
        It may be a Deferred, or come from a coroutine; the first asked need not be the first answered.
        """
        asked, answer, _ = self.waiting()

        async def later() -> str:
            return str(await answer)

        waiting = self.ask("wait")
        self.answers["later"] = later
        after = self.ask("later")
        self.assertEqual(await self.ask("echo"), ())
        await asked
        answer.callback(None)
        self.assertEqual((await waiting, await after), (None, "None"))

    async def test_both_ways(self) -> None:
        """
        Who is asked may ask back.
        """

        async def back() -> Any:
            return await self.far.link.ask("name")

        self.near_answers["name"] = lambda: "near"
        self.answers["back"] = back
        self.assertEqual(await self.ask("back"), "near")

    async def test_large(self) -> None:
        """
        Whatever fits into a message arrives whole, among others.
        """
        large = b"x" * (MAX_MESSAGE - 100)
        asked = [self.ask("echo", large), self.ask("echo", 1), self.ask("echo", 2)]
        self.assertEqual([await each for each in asked], [(large,), (1,), (2,)])

    async def test_too_large(self) -> None:
        """
        What does not fit is refused where it is said; the link goes on.
        """
        with self.assertRaises(ValueError):
            await self.ask("echo", b"x" * MAX_MESSAGE)
        self.answers["much"] = lambda: b"x" * MAX_MESSAGE
        with self.assertRaises(FailedElsewhere):
            await self.ask("much")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(await self.ask("echo"), ())

    async def test_our_errors(self) -> None:
        """
        Errors of ours are raised as what they are.
        """

        def fail() -> None:
            raise BucketExists("photos", owned=True)

        self.answers["fail"] = fail
        with self.assertRaises(BucketExists) as raised:
            await self.ask("fail")
        self.assertTrue(raised.exception.owned)

    async def test_other_errors(self) -> None:
        """
        Others are logged where they were raised; the asker hears what they said.
        """

        async def fail() -> None:
            raise ZeroDivisionError("by 0")

        self.answers["fail"] = fail
        with self.assertRaisesRegex(FailedElsewhere, "by 0"):
            await self.ask("fail")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_unsayable(self) -> None:
        """
        An answer that cannot be written fails the question, and nothing else.
        """
        self.answers["lambda"] = lambda: lambda: None
        with self.assertRaises(FailedElsewhere):
            await self.ask("lambda")
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertEqual(await self.ask("echo"), ())

    async def test_told(self) -> None:
        """
        What is only told is done in its turn; that it fails is logged.
        """
        heard: list[object] = []

        def fail() -> None:
            raise ZeroDivisionError

        self.answers.update({"note": heard.append, "fail": fail})
        self.near.link.tell("note", 1)
        self.near.link.tell("fail")
        self.near.link.tell("note", 2)
        await self.ask("echo")
        self.assertEqual(heard, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class CancelTests(LinkCase):
    async def test_cancelled(self) -> None:
        """
        Who asked is let go at once, and what is being done about it is cancelled.
        """
        asked, _, left = self.waiting()
        waiting = self.ask("wait")
        await asked
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await left
        self.assertEqual(await self.ask("echo"), ())

    async def test_too_late(self) -> None:
        """
        If it was done by then, the answer is not lost.
        """
        unheard: list[object] = []
        waiting = self.ask("echo", 1, unheard=unheard.append)
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await self.ask("echo")
        self.assertEqual(unheard, [(1,)])

    async def test_failed_too_late(self) -> None:
        """
        That it failed by then concerns nobody.
        """

        def fail() -> None:
            raise StoreUnavailable("full")

        self.answers["fail"] = fail
        waiting = self.ask("fail", unheard=self.fail)
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        await self.ask("echo")


class LostTests(LinkCase):
    async def test_asked_before(self) -> None:
        """
        When the other end goes, what was asked of it may have been done; nobody works for it any more.
        """
        asked, _, left = self.waiting()
        waiting = self.ask("wait")
        await asked
        self.near.link.close()
        with self.assertRaises(TransactionUnclear):
            await waiting
        await left

    async def test_asked_after(self) -> None:
        """
        What is asked later certainly is not done; what is told is told nobody.
        """
        self.far.link.close()
        await self.near.lost
        self.assertFalse(self.near.link.is_connected)
        with self.assertRaises(StoreUnavailable) as raised:
            await self.ask("echo")
        self.assertNotIsInstance(raised.exception, TransactionUnclear)
        self.near.link.tell("echo")

    async def test_told_first(self) -> None:
        """
        What was said before hanging up arrives.
        """
        heard: list[object] = []
        self.answers["note"] = heard.append
        self.near.link.tell("note", 1)
        self.near.link.close()
        await self.far.lost
        self.assertEqual(heard, [1])


class HostileTests(TestCase):
    """The other end says what it likes."""

    def setUp(self) -> None:
        self.answers: dict[str, Callable[..., object]] = {"wait": Deferred, "echo": lambda *args: args}
        self.end = End(self.answers)
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.end.join(ours)

    async def ends(self, said: bytes) -> None:
        """The link ends, without another word."""
        asked = self.end.link.ask("anything")
        self.theirs.sendall(said)
        with self.assertRaises(TransactionUnclear):
            await asked
        await self.end.lost

    async def test_too_long(self) -> None:
        """
        A length is believed up to the limit.
        """
        await self.ends(pack("!I", MAX_MESSAGE + 1))

    async def test_no_message(self) -> None:
        """
        Bytes that are no pickle.
        """
        await self.ends(framed(b"\xff" * 20))

    async def test_code(self) -> None:
        """
        A pickle that would do something.
        """
        await self.ends(framed(pickle.dumps((1, "echo", (pickle.loads,)), 5)))

    async def test_no_tuple(self) -> None:
        """
        A value that is none of the messages.
        """
        await self.ends(framed(dumps(7)))

    async def test_unknown_kind(self) -> None:
        """
        A message of a kind that there is not.
        """
        await self.ends(framed(dumps((99, 1, "echo", ()))))

    async def test_unknown_name(self) -> None:
        """
        Something that nobody answers.
        """
        await self.ends(framed(dumps((0, 1, "system", ("ls",)))))

    async def test_wrong_shape(self) -> None:
        """
        Too few parts, or arguments that are none.
        """
        await self.ends(framed(dumps((0, 1))))

    async def test_same_number(self) -> None:
        """
        Two questions under one number.
        """
        await self.ends(framed(dumps((0, 1, "wait", ()))) * 2)

    async def test_answers_nobody_asked_for(self) -> None:
        """
        An answer to no question.
        """
        await self.ends(framed(dumps((2, 99, None))))

    async def test_bytewise(self) -> None:
        """
        A message may come in any number of pieces.
        """
        heard: Deferred[object] = Deferred()
        self.answers["note"] = heard.callback
        from twisted.internet import reactor

        said = list(framed(dumps((1, "note", (7,)))))

        def send() -> None:
            if said:
                self.theirs.send(bytes([said.pop(0)]))
                reactor.callLater(0, send)  # type: ignore[attr-defined]

        send()
        self.assertEqual(await heard, 7)
        self.theirs.close()
        await self.end.lost


class BatchTests(TestCase):
    async def test_together(self) -> None:
        """
        What is said in one turn is sent at once.
        """
        # Here each call of the system is received as what it was.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(theirs.close)
        end = End({})
        end.join(ours)
        for number in range(100):
            end.link.tell("echo", number)
        end.link.close()
        await end.lost
        self.assertEqual(
            theirs.recv(1 << 16), b"".join(framed(dumps((1, "echo", (number,)))) for number in range(100))
        )
        self.assertEqual(theirs.recv(1 << 16), b"")
