"""An S3 service that answers requests one after the other, as a test says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, frozen
from twisted.trial.unittest import TestCase

from s3orchestrator.backends.s3 import S3Backend
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import BackendConfig
from s3orchestrator.config.server import ServerConfig
from tests.unit.backends.scripted import Peer, Script, ScriptedServer, the_reactor

SECRET = "a secret"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def error(code: str, message: str = "Because.", **fields: str) -> bytes:
    """Return an error document."""
    more = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    inside = f"<Code>{code}</Code><Message>{message}</Message>{more}"
    return f"<?xml version='1.0'?>\n<Error>{inside}</Error>".encode()


def document(root: str, inside: str) -> bytes:
    """Return any other document."""
    return f'<?xml version="1.0"?><{root} xmlns="{_NAMESPACE}">{inside}</{root}>'.encode()


@frozen
class Request:
    """A request as the service got it."""

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes = b""

    @classmethod
    def of(cls, head: bytes) -> Request:
        """Read what came before the body."""
        first, *lines = head.split(b"\r\n")
        method, target, _ = first.split(b" ")
        path, _, query = target.partition(b"?")
        headers: dict[bytes, list[bytes]] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            headers.setdefault(name.lower(), []).append(value)
        return cls(method, path, query, headers)

    def value(self, name: bytes) -> bytes | None:
        """The first header of that name."""
        values = self.headers.get(name)
        return values[0] if values else None


@frozen
class Answer:
    """One reply; the length of the body is added."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = Factory(dict)


class ServiceTestCase(TestCase):
    """Has a service, and a backend for a bucket of it."""

    timeout = 20

    def serve(self, *answers: Answer | bytes, **settings: Any) -> None:
        """Answer so, one after the other; after raw bytes the connection closes."""
        self.requests: list[Request] = []
        left = list(answers)

        async def script(peer: Peer) -> None:
            while left:
                self.requests.append(await self.request(peer))
                answer = left.pop(0)
                if isinstance(answer, bytes):
                    peer.send(answer)
                    peer.close()
                    return
                peer.reply(answer.status, answer.body, **answer.headers)

        self.serve_scripts(*[script] * len(answers), **settings)

    async def request(self, peer: Peer) -> Request:
        """Read one request with its body."""
        request = Request.of(await peer.head())
        length = request.value(b"content-length")
        body = await peer.take(int(length)) if length and request.value(b"expect") is None else b""
        return Request(request.method, request.path, request.query, request.headers, body)

    def serve_scripts(self, *scripts: Script, **settings: Any) -> None:
        """Do so on each connection."""
        self.server = ScriptedServer(the_reactor(), scripts)
        self.addCleanup(self.server.stop)
        self.backend = self.connect(**settings)

    def connect(self, **settings: Any) -> S3Backend:
        """Return a backend with these settings."""
        usual = {
            "name": "oci",
            "endpoint": f"http://127.0.0.1:{self.server.port}",
            "bucket": "bucket",
            "access_key_id": "AK",
            "secret_access_key": SECRET,
        }
        config = BackendConfig(**{**usual, **settings})
        backend = S3Backend.of(config, ServerConfig(listen_addr=":0"), the_reactor())
        self.addCleanup(lambda: start(backend.close()))
        return backend

    async def fails(self, waited: Any, kind: type[Exception]) -> Any:
        """Wait for a failure of exactly that kind."""
        with self.assertRaises(kind) as caught:
            await waited
        return caught.exception
