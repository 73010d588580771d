"""treq over our agent, and the traps that treq on its own sets for a proxy."""

from __future__ import annotations

import gzip

from treq import content
from treq.client import HTTPClient

from s3orchestrator.backends.agent import ClientAgent
from s3orchestrator.bodies.sources import BytesBody, collect
from tests.unit.backends.scripted import Peer
from tests.unit.backends.test_transport import ClientTestCase


class AgentTests(ClientTestCase):
    """Our client as an `IAgent`."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/a?b=c"

    async def test_treq(self) -> None:
        """
        treq sends and receives through it, on connections that are kept.
        """

        async def script(peer: Peer) -> None:
            for _ in range(2):
                head = await peer.head()
                peer.reply(200, head.split(b"\r\n")[0] + b" " + await peer.take(3))

        self.serve(script)
        treq = HTTPClient(ClientAgent(self.client))
        for _ in range(2):
            response = await treq.post(self.url, data=b"abc")
            self.assertEqual(await content(response), b"POST /a?b=c HTTP/1.1 abc")
        self.assertEqual(self.server.accepted, 1)

    async def test_long_body(self) -> None:
        """
        A body that comes in many pieces is whole in the end.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, bytes(1024 * 1024))

        self.serve(script)
        response = await HTTPClient(ClientAgent(self.client)).get(self.url)
        self.assertEqual(await content(response), bytes(1024 * 1024))

    async def test_traps(self) -> None:
        """
        treq unpacks what is stored packed, and goes where a redirect sends it; our client does neither.
        """
        packed = gzip.compress(b"x" * 1000)

        async def script(peer: Peer) -> None:
            for _ in range(2):
                await peer.head()
                peer.reply(200, packed, Content_Encoding="gzip")
            await peer.head()
            peer.reply(302, b"", Location="/elsewhere")
            assert b"/elsewhere" in await peer.head()
            peer.reply(200, b"elsewhere")
            await peer.head()
            peer.reply(302, b"moved", Location="/elsewhere")

        self.serve(script)
        treq = HTTPClient(ClientAgent(self.client))
        self.assertEqual(await content(await treq.get(self.url)), b"x" * 1000)
        reply = await self.get()
        self.assertEqual(await collect(reply.body, 1000), packed)
        self.assertEqual(await content(await treq.get(self.url)), b"elsewhere")
        reply = await self.get()
        self.assertEqual((reply.status, await collect(reply.body, 10)), (302, b"moved"))

    async def test_same_bytes(self) -> None:
        """
        A body given to our client is sent as it is.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.reply(200, await peer.take(3))

        self.serve(script)
        self.assertEqual(await collect((await self.put(BytesBody(b"abc"))).body, 3), b"abc")
