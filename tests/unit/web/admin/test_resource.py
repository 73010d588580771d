"""The door to the admin API: who is let in, what is read, how everything is answered and recorded."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.scalars import Secret
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.api import MAX_BODY, AdminApi, AdminRequest, Reply
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.relayed import Taken, passing_on
from s3orchestrator.web.admin.resource import AdminResource
from s3orchestrator.web.admin.routing import Route
from s3orchestrator.web.root import Root
from tests.unit.web.serving import Answers, Served, path_as_body

TOKEN = "correct-horse-battery"


class AdminCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[Ask] = []
        self.outcome: Any = Answer({"fine": True})
        self.served = Served(Answers())
        routes = (
            Route("Show", "GET", "thing", self.operate),
            Route("Change", "POST", "thing/{name}", self.operate),
        )
        clock = self.served.clock
        self.access = Access.of(Secret(TOKEN), clock)
        self.api = AdminApi(routes, self.access, clock)
        self.admin = AdminResource(self.whom())
        self.served.site.resource = Root(Answers(), Answers(path_as_body), ("s3.example",), self.admin)
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def whom(self) -> Any:
        """Who answers what the resource is asked."""
        return self.api.answer

    def note(self, event: dict[str, Any]) -> None:
        if event.get("audit"):
            self.events.append(event)

    async def operate(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if isinstance(self.outcome, Deferred):
            await self.outcome
            return Answer({})
        answer: Answer = self.outcome
        return answer

    def send(
        self,
        line: bytes = b"GET /admin/api/thing",
        body: bytes = b"",
        *,
        token: str | None = TOKEN,
        headers: bytes = b"",
        host: bytes = b"127.0.0.1",
    ) -> None:
        head = line + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + headers
        if token is not None:
            head += b"X-Admin-Token: " + token.encode() + b"\r\n"
        if body:
            head += b"Content-Length: %d\r\n" % len(body)
        self.served.send(head + b"\r\n" + body)

    def received(self) -> tuple[int, dict[str, Any]]:
        head, _, body = self.served.received().partition(b"\r\n\r\n")
        self.head = head.lower()
        return int(head.split(b" ")[1]), json.loads(body)

    def answer(self, *what: Any, **how: Any) -> tuple[int, dict[str, Any]]:
        self.send(*what, **how)
        return self.received()


class AccessTests(AdminCase):
    def test_token(self) -> None:
        """With the token there is an answer, as JSON that nobody keeps."""
        self.assertEqual(self.answer(), (200, {"fine": True}))
        self.assertIn(b"content-type: application/json", self.head)
        self.assertIn(b"cache-control: no-store", self.head)

    def test_wrong_token(self) -> None:
        """Without it nothing is said, not even whether there is something of that name."""
        for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper()):
            self.setUp()
            for path in (b"GET /admin/api/thing", b"GET /admin/api/nothing", b"DELETE /admin/api/thing"):
                self.assertEqual(self.answer(path, token=token), (401, {"error": "unauthorized"}))
        self.assertEqual(self.asked, [])

    def test_two_tokens(self) -> None:
        """Of two, neither counts."""
        status, _ = self.answer(headers=b"X-Admin-Token: other\r\n")
        self.assertEqual(status, 401)

    def test_locked(self) -> None:
        """After five wrong ones the right one is not looked at either, for five minutes."""
        for _ in range(5):
            self.assertEqual(self.answer(token="wrong")[0], 401)
        status, document = self.answer()
        self.assertEqual(status, 429)
        self.assertIn("too many wrong tokens", document["error"])
        self.assertIn(b"retry-after: 300", self.head)
        self.served.clock.advance(300)
        self.served = Served(self.served.site.resource)  # the other connection was idle for too long
        self.assertEqual(self.answer()[0], 200)

    def test_right_token_forgives(self) -> None:
        """Mistyping now and then locks nobody out."""
        for _ in range(3):
            for _ in range(4):
                self.answer(token="wrong")
            self.assertEqual(self.answer()[0], 200)


class AnswersTests(AdminCase):
    def test_asked(self) -> None:
        """Path, query and body are handed on, decoded."""
        self.answer(b"POST /admin/api/thing/a%2Fb?x=%C3%BC+y&z=", b'{"deep": true}')
        (ask,) = self.asked
        self.assertEqual(ask, Ask({"name": "a/b"}, {"x": "ü y", "z": ""}, {"deep": True}))

    def test_no_body(self) -> None:
        """A body that is missing is an empty object; that of a GET is not read."""
        self.answer(b"POST /admin/api/thing/x")
        self.answer(b"GET /admin/api/thing", b"not json")
        self.assertEqual([ask.body for ask in self.asked], [{}, {}])

    def test_bad_bodies(self) -> None:
        """What is no JSON object is refused, with the reason where there is one."""
        for body, reason in (
            (b"{", "not JSON: Expecting property name"),
            (b"\xff", "not JSON"),
            (b"[" * 100_000, "not JSON"),
            (b"1" * 5000, "not JSON"),
            (b"[1]", "must be a JSON object"),
            (b"null", "must be a JSON object"),
        ):
            status, document = self.answer(b"POST /admin/api/thing/x", body)
            self.assertEqual(status, 400, body[:10])
            self.assertIn(reason, document["error"])
        self.assertEqual(self.asked, [])

    def test_huge_body(self) -> None:
        """More than a mebibyte is refused, announced or not; without the token none of it is read."""
        announced = b"Content-Length: %d\r\nExpect: 100-continue\r\n" % (MAX_BODY + 1)
        status, document = self.answer(b"POST /admin/api/thing/x", headers=announced)
        self.assertEqual((status, document["error"]), (413, f"the body is longer than {MAX_BODY} bytes"))
        self.served = Served(self.served.site.resource)
        status, _ = self.answer(b"POST /admin/api/thing/x", headers=announced, token="wrong")
        self.assertEqual(status, 401)
        self.served = Served(self.served.site.resource)
        self.send(b"POST /admin/api/thing/x", headers=b"Transfer-Encoding: chunked\r\n")
        for _ in range(17):
            self.served.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        self.assertEqual(self.received()[0], 413)
        self.assertEqual(self.asked, [])

    def test_largest_body(self) -> None:
        """Exactly a mebibyte is read."""
        body = b'{"x": "' + b"y" * (MAX_BODY - 9) + b'"}'
        self.assertEqual(self.answer(b"POST /admin/api/thing/x", body)[0], 200)

    def test_bad_queries(self) -> None:
        """A query that is no text is refused."""
        for query in (b"x=%FF", b"x=%00", b"x=\xc3\xbc", b"&".join([b"x=1"] * 21)):
            self.assertEqual(self.answer(b"GET /admin/api/thing?" + query)[0], 400, query)

    def test_refused(self) -> None:
        """What an operation refuses is the answer, with what it adds."""
        self.outcome = Refused(409, "it is running", {"Retry-After": "1"}, job="j")
        self.assertEqual(self.answer(), (409, {"error": "it is running", "job": "j"}))
        self.assertIn(b"retry-after: 1", self.head)

    def test_store_away(self) -> None:
        """Without the ledger the answer is 503, and says so."""
        self.outcome = StoreUnavailable("the disk is full")
        status, document = self.answer()
        self.assertEqual(status, 503)
        self.assertIn("the disk is full", document["error"])

    def test_mistake(self) -> None:
        """A mistake of ours is logged; the caller hears no more than that."""
        self.outcome = KeyError("secret thing")
        status, document = self.answer()
        self.assertEqual(status, 500)
        self.assertNotIn("secret thing", json.dumps(document))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_head(self) -> None:
        """HEAD is another method, and gets no body."""
        self.send(b"HEAD /admin/api/thing")
        head, _, body = self.served.received().partition(b"\r\n\r\n")
        self.assertEqual((head.split(b" ")[1], body), (b"405", b""))


class RelayedTests(AnswersTests):
    """The same of an API in another process; what passes between the two is all that it is given."""

    def whom(self) -> Any:
        self.relayed: list[Taken] = []

        async def ask(asked: AdminRequest, taken: Taken) -> Reply:
            self.relayed.append(taken)
            return await self.api.answer(asked, taken.read)

        return passing_on(ask, self.access)

    def test_not_taken(self) -> None:
        """The body of somebody without the token is not even read."""
        status, _ = self.answer(b"POST /admin/api/thing/x", b"{}", token="wrong")
        self.assertEqual((status, self.relayed), (401, [Taken()]))


class AuditTests(AdminCase):
    def test_recorded(self) -> None:
        """Every call is a line: what, from where, how it ended; never the token."""
        self.outcome = Answer({}, noted={"level": "debug"})
        self.answer(b"POST /admin/api/thing/x")
        self.answer(b"GET /admin/api/nothing")
        self.answer(token="a-wrong-token")
        self.assertEqual(
            [(event["event"], event["status"]) for event in self.events],
            [("admin.Change", 200), ("admin.Refused", 404), ("admin.Refused", 401)],
        )
        first = self.events[0]
        self.assertEqual((first["method"], first["path"]), ("POST", "/admin/api/thing/x"))
        self.assertEqual((first["level"], first.get("error")), ("debug", None))
        self.assertIn("remote", first)
        self.assertIn("duration_ms", first)
        for token in (TOKEN, "a-wrong-token"):
            self.assertNotIn(token, repr(self.events))

    def test_client_leaves(self) -> None:
        """Of a caller who leaves there is a line too, and what it waited for is cancelled."""
        cancelled: list[object] = []
        self.outcome = Deferred(cancelled.append)
        self.send()
        self.served.leave()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual([(event["event"], event["status"]) for event in self.events], [("admin.Show", 499)])


class RootTests(AdminCase):
    def answered_by_s3(self, path: bytes, host: bytes = b"127.0.0.1") -> bool:
        self.send(b"GET " + path, host=host)
        return self.served.received().endswith(b"\r\n\r\n" + path)

    def test_raw_path(self) -> None:
        """Only `/admin/api/`, as it is written, is ours; nothing is normalised."""
        for path in (
            b"/admin",
            b"/admin/",
            b"/admin/api",
            b"/admin/apis/thing",
            b"//admin/api/thing",
            b"/%61dmin/api/thing",
            b"/admin%2Fapi/thing",
            b"/Admin/api/thing",
            b"/x/../admin/api/thing",
        ):
            self.assertTrue(self.answered_by_s3(path), path)
        self.assertFalse(self.answered_by_s3(b"/admin/api/thing"))
        self.assertFalse(self.answered_by_s3(b"/admin/api/"))

    def test_virtual_hosted(self) -> None:
        """In a bucket's own host it is a key like any other."""
        self.assertTrue(self.answered_by_s3(b"/admin/api/thing", b"photos.s3.example"))
        self.assertFalse(self.answered_by_s3(b"/admin/api/thing", b"s3.example"))

    def test_no_admin(self) -> None:
        """Without a token there is no admin API, and S3 answers."""
        self.served.site.resource = Root(Answers(), Answers(path_as_body), ())
        self.assertTrue(self.answered_by_s3(b"/admin/api/thing"))
