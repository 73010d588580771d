"""Behind nginx, set up as the operators' guide has it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from tempfile import mkdtemp

from twisted.logger import LogEvent, globalLogPublisher

from s3orchestrator.testing.bench.servers import Server as Program
from tests.integration.asking import UNSIGNED, Answer, Caller, Wire
from tests.integration.framing import FORMS, LARGE, UNSIGNED_FORM, with_length
from tests.integration.s3_server import ServerCase
from tests.ports import free_port

GUIDE = Path(__file__).parents[2] / "docs" / "operating" / "nginx.conf"
AROUND = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    {guide}
}}
"""
BURST = 20
LIMITED = f"rate_limit: {{enabled: true, requests_per_sec: 0.01, burst: {BURST}, trusted_proxies: [%s]}}\n"


class NginxTests(ServerCase):
    """What passes through a proxy is what was sent, and whose it is."""

    sections = LIMITED % "127.0.0.1"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.folder = Path(mkdtemp())
        cls.port = free_port()
        (cls.folder / "nginx.conf").write_text(AROUND.format(folder=cls.folder, guide=cls._guide()))
        program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        assert program is not None, "nginx is not installed: make prerequisites"
        command = [program, "-p", str(cls.folder), "-c", str(cls.folder / "nginx.conf")]
        cls.nginx = Program(command, cls.port, cls.folder / "nginx.out").start("/health")

    @classmethod
    def _guide(cls) -> str:
        """The guide's file, for these addresses and without a certificate."""
        text = GUIDE.read_text("utf-8").replace("127.0.0.1:9000", cls._upstream())
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{cls.port}")
        text, number = re.subn(r"^ +ssl_certificate.*\n", "", text, flags=re.M)
        assert number == 2, "the guide has changed"
        return text

    @classmethod
    def _upstream(cls) -> str:
        host, port = cls.server.address
        return f"{host}:{port}"

    @classmethod
    def tearDownClass(cls) -> None:
        cls.nginx.stop()
        shutil.rmtree(cls.folder)
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        self.through = Caller(("127.0.0.1", self.port), "alice", "alicesecret")

    def ask(self, client: str, method: str, target: str, body: bytes = b"") -> Answer:
        """Ask as a client of another proxy in front would, which is trusted as well."""
        headers = {"x-forwarded-for": client}
        return self.through.ask(method, target, body, headers, payload_hash=UNSIGNED)

    def test_objects(self) -> None:
        """Signatures hold, also over keys that a proxy might tidy up; bodies are whole."""
        for number, key in enumerate(("plain", "a//b/../c/", "a%20b+c", "%C3%A4%2F")):
            with self.subTest(key):
                client = f"203.0.113.{number}"
                self.assertSucceeded(self.ask(client, "PUT", f"/photos/{key}", LARGE))
                self.assertEqual(self.ask(client, "GET", f"/photos/{key}").body, LARGE)
                self.assertEqual(self.ask(client, "HEAD", f"/photos/{key}").status, 200)
                self.assertEqual(self.ask(client, "DELETE", f"/photos/{key}").status, 204)

    def test_chunks(self) -> None:
        """Uploads as SDKs frame them pass."""
        form, headers = FORMS[UNSIGNED_FORM], {"x-forwarded-for": "203.0.113.20"}
        request = form.request(self.through, LARGE, headers)
        body = form.body(self.through, request, LARGE, 65536)
        with Wire(self.through.address) as wire:
            wire.send(with_length(request, body), body)
            self.assertSucceeded(wire.answer("PUT"))

    def test_clients(self) -> None:
        """Each client has a limit of its own, and cannot pass for another by what it writes."""
        seen: list[str] = []

        def observe(event: LogEvent) -> None:
            # The line about a test before may come after its answer.
            if event.get("audit") and event.get("path") == "/photos":
                seen.append(str(event["remote"]))

        globalLogPublisher.addObserver(observe)
        statuses = [self.ask(f"6.6.6.{n}, 203.0.113.30", "HEAD", "/photos").status for n in range(BURST + 1)]
        self.assertEqual(statuses, BURST * [200] + [429])
        self.assertEqual(self.ask("203.0.113.31", "HEAD", "/photos").status, 200)
        self.server.run(lambda: globalLogPublisher.removeObserver(observe))
        self.assertEqual(set(seen), {"203.0.113.30", "203.0.113.31"})

    def test_refused_upload(self) -> None:
        """An upload that is refused early ends with our answer, not with one of nginx's."""
        for _ in range(BURST):
            self.ask("203.0.113.40", "HEAD", "/photos")
        answer = self.ask("203.0.113.40", "PUT", "/photos/a", b"small")
        self.assertRefused(answer, 429, "SlowDown")
        self.assertTrue(answer.header("retry-after"))

    def test_not_for_everybody(self) -> None:
        """Operators' paths are not to be had from outside."""
        for target in ("/admin/api/status", "/metrics"):
            answer = self.through.ask_unsigned("GET", target)
            self.assertEqual((answer.status, answer.header("x-amz-request-id")), (404, None))


class UnixSocketTests(NginxTests):
    """The same through a Unix socket, where whoever may connect is trusted to say whose request it is."""

    place = f"unix:/tmp/s3o-nginx-{os.getpid()}.sock"
    settings = {"listen_addr": "", "listeners": [{"address": "127.0.0.1:0"}, {"address": place}]}
    sections = LIMITED % "unix, 127.0.0.1"  # nginx itself is asked from there

    @classmethod
    def _upstream(cls) -> str:
        return cls.place
