"""More connections than there may be: who stays, and who goes."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.web.channel import StreamingChannel
from s3orchestrator.web.site import StreamingSite
from tests.unit.web.serving import LIMITS, Answers, Wire

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Connection:
    """One of the connections to a site."""

    def __init__(self, site: StreamingSite) -> None:
        self.wire = Wire(lenient=True)
        self.channel: StreamingChannel = site.buildProtocol(None)
        self.channel.makeConnection(self.wire)

    @property
    def is_open(self) -> bool:
        return not self.wire.disconnecting

    def ask(self) -> None:
        self.channel.dataReceived(GET)

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))


class CrowdingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.answers = Answers()
        self.site = StreamingSite(self.answers, LIMITS, self.clock, 3)

    def connect(self) -> Connection:
        self.clock.advance(1)
        return Connection(self.site)

    def test_enough(self) -> None:
        """
        As many as there may be are left alone.
        """
        self.assertTrue(all(connection.is_open for connection in [self.connect() for _ in range(3)]))

    def test_silent_ones_go_first(self) -> None:
        """
        The oldest of those that never asked anything makes room, even for one that says nothing either.
        """
        known = self.connect()
        known.ask()
        self.answers.requests[0].respond(200, [])
        silent = [self.connect() for _ in range(4)]
        self.assertEqual([each.is_open for each in [known, *silent]], [True, False, False, True, True])

    def test_half_a_head(self) -> None:
        """
        The beginning of a request is none.
        """
        halves = [self.connect() for _ in range(3)]
        for half in halves:
            half.channel.dataReceived(b"GET /")
            self.clock.advance(1)
        self.assertTrue(self.connect().is_open)
        self.assertEqual([half.is_open for half in halves], [False, True, True])
        self.assertEqual(halves[0].wire.value(), b"")

    def test_longest_idle(self) -> None:
        """
        Of those that have asked, the one goes that has been idle for longest.
        """
        known = [self.connect() for _ in range(3)]
        for each in reversed(known):
            each.ask()
            self.answers.requests[-1].respond(200, [])
            self.clock.advance(1)
        self.assertTrue(self.connect().is_open)
        self.assertEqual([each.is_open for each in known], [True, True, False])

    def test_all_busy(self) -> None:
        """
        Nobody who is being answered has to go: the new one does.
        """
        busy = [self.connect() for _ in range(3)]
        for each in busy:
            each.ask()
        late = self.connect()
        self.assertTrue(late.wire.aborted)
        late.ask()
        self.assertEqual(len(self.answers.requests), 3)
        self.assertTrue(all(each.is_open for each in busy))
        late.leave()
        busy[0].leave()
        self.assertTrue(self.connect().is_open)

    def test_one_for_one(self) -> None:
        """
        One that is leaving is not counted, and no other has to leave in its stead.
        """
        silent = [self.connect() for _ in range(4)]
        silent[0].leave()
        silent[1].leave()
        self.assertTrue(self.connect().is_open)
        self.assertTrue(silent[2].is_open)

    def test_nothing_is_left_behind(self) -> None:
        """
        When all have left, refused or not, there is no timer, and nothing to drain.
        """
        all_of_them = [self.connect() for _ in range(9)]
        for each in all_of_them:
            each.leave()
        self.assertEqual((self.site.connections, self.clock.getDelayedCalls()), (set(), []))
        self.assertTrue(self.connect().is_open)
