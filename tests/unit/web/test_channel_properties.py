"""What holds for every client: any requests, cut anywhere, and any garbage."""

from __future__ import annotations

from time import process_time

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from s3orchestrator.errors import BodyAborted
from s3orchestrator.web.request import Request
from tests.unit.web.serving import Answers, Gathered, Served, path_as_body

Seen = tuple[bytes, bytes, bytes]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, Seen]:
    """A request as bytes, and what is to be seen of it."""
    path = draw(st.sampled_from([b"/", b"/a", b"/a%2Fb?x"]))
    body = draw(st.binary(max_size=30) | st.just(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"))
    form = draw(st.sampled_from(["none", "length", "chunks"]))
    if form == "none":
        return b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n", (b"GET", path, b"")
    if form == "length":
        wire = b"PUT " + path + b" HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        return wire, (b"PUT", path, body)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    wire = b"POST " + path + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return wire, (b"POST", path, body)


class Reading(Answers):
    """Reads every body, or none, and answers."""

    def __init__(self, *, reads: bool = True) -> None:
        super().__init__(self.serve)
        self.seen: list[Seen] = []
        self._reads = reads

    def serve(self, request: Request) -> None:
        if self._reads:
            Deferred.fromCoroutine(self._read(request))
        else:
            self.seen.append((request.method, request.uri, b""))
            request.respond(200, [])

    async def _read(self, request: Request) -> None:
        gathered = Gathered()
        try:
            await request.body.startProducing(gathered)
        except BodyAborted:
            return
        self.seen.append((request.method, request.uri, gathered.data))
        request.respond(200, [])


def feed(served: Served, wire: bytes, sizes: list[int]) -> None:
    for size in sizes:
        if wire and not served.wire.disconnecting:
            served.send(wire[:size])
            wire = wire[size:]
            served.clock.advance(0)
    if wire and not served.wire.disconnecting:
        served.send(wire)
    served.clock.pump([0] * 10)


SIZES = st.lists(st.integers(1, 40), max_size=30)


class PropertyTests(SynchronousTestCase):
    @given(st.lists(requests(), max_size=6), SIZES)
    def test_any_cut(self, wanted: list[tuple[bytes, Seen]], sizes: list[int]) -> None:
        """However requests are cut into packets, the same requests and bodies are seen."""
        resource = Reading()
        served = Served(resource)
        feed(served, b"".join(wire for wire, _ in wanted), sizes)
        self.assertEqual(resource.seen, [seen for _, seen in wanted])
        self.assertEqual(served.received().count(b"HTTP/1.1 200 OK"), len(wanted))

    @given(st.lists(requests(), max_size=6), SIZES)
    def test_unread_bodies(self, wanted: list[tuple[bytes, Seen]], sizes: list[int]) -> None:
        """If nobody reads the bodies, no byte of them becomes a request; only closing loses requests."""
        resource = Reading(reads=False)
        served = Served(resource)
        feed(served, b"".join(wire for wire, _ in wanted), sizes)
        expected = [(method, path, b"") for _, (method, path, _) in wanted]
        self.assertEqual(resource.seen, expected[: len(resource.seen)])
        if not served.wire.disconnecting:
            self.assertEqual(len(resource.seen), len(wanted))

    @given(st.lists(requests(), max_size=2), st.binary(max_size=100), SIZES)
    def test_garbage(self, wanted: list[tuple[bytes, Seen]], garbage: bytes, sizes: list[int]) -> None:
        """Whatever comes after requests, they are served, and what it is not is not served."""
        resource = Reading()
        served = Served(resource)
        feed(served, b"".join(wire for wire, _ in wanted) + garbage, sizes)
        self.assertEqual(resource.seen[: len(wanted)], [seen for _, seen in wanted])
        served.leave()
        self.assertEqual(served.clock.getDelayedCalls(), [])


class Stock(Resource):
    isLeaf = True

    def render(self, request: object) -> bytes:
        return b""


class CostTests(SynchronousTestCase):
    def test_cheaper_than_twisteds_site(self) -> None:
        """An empty answer takes at most two thirds of what Twisted's own Site needs."""
        request = b"GET /b/k?x HTTP/1.1\r\nHost: h\r\n" + b"X-Amz-Some-Header: value\r\n" * 6 + b"\r\n"

        def seconds(channel: Served | StockServed) -> float:
            begun = process_time()
            for _ in range(300):
                channel.send(request)
            channel.wire.clear()
            return process_time() - begun

        ours, stock = Served(Answers(path_as_body)), StockServed()
        rounds = [(seconds(ours), seconds(stock)) for _ in range(7)]
        self.assertLess(min(each for each, _ in rounds), 0.66 * min(each for _, each in rounds))


class StockServed:
    def __init__(self) -> None:
        clock = Clock()
        site = Site(Stock(), reactor=clock)
        site.log = lambda request: None
        self.wire = StringTransport()
        self._channel = site.buildProtocol(None)
        self._channel.makeConnection(self.wire)

    def send(self, data: bytes) -> None:
        self._channel.dataReceived(data)
