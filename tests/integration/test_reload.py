"""SIGHUP to a daemon: what changes, what stays, and who notices."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from twisted.trial.unittest import SynchronousTestCase

from tests.clients.deployment import boto3_client
from tests.integration.administering import AdminCase
from tests.integration.disks import BUCKET, MIB, disks, refusal
from tests.integration.test_serve_command import SlowUpload
from tests.running import COMMAND, PATIENCE, wait_until
from tests.unit.web.certificates import Authority
from tests.workers import CHOSEN, with_workers

OURS = "access_key_id: photoskey, secret_access_key: photossecret"
_ENDED = ("configuration reload complete", "configuration reload failed")


class ReloadCase(AdminCase):
    """One daemon, and a file that is edited."""

    def edit(self, old: str, new: str) -> None:
        """Replace something in the file."""
        text = self.config.read_text()
        self.assertIn(old, text)
        self.config.write_text(text.replace(old, new))

    def reload(self, old: str = "", new: str = "") -> str:
        """Edit the file and have it read; returns what became of it."""
        before = len(self.audited())
        self.edit(old, new)
        os.kill(self.daemon.pid, signal.SIGHUP)
        # The last line of a reload is that of the audit trail.
        wait_until(lambda: len(self.audited()) > before, f"it does not reload\n{self.daemon.tail()}")
        return self.ends()[-1]

    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.daemon.logged() if line[:1] == "{"]

    def audited(self) -> list[dict[str, Any]]:
        """What the audit trail says of reloads."""
        return [line for line in self.lines() if line.get("event") == "config.Reload"]

    def ends(self) -> list[str]:
        """How reloads have ended."""
        return [line["msg"] for line in self.lines() if line["msg"].startswith(_ENDED)]

    def s3(self, key: str, secret: str, **more: Any) -> Any:
        """A client of one's own."""
        return boto3_client(self.daemon.endpoint, key, secret, connect_timeout=5, **more)

    def status(self) -> Any:
        """What the daemon says of the last reload."""
        return self.ask("/admin/api/reload-status")[1]


class TakingOverTests(ReloadCase):
    def test_credentials(self) -> None:
        """From the next request on the new secret is right and the old one wrong, on old connections too."""
        old, new = self.s3("photoskey", "photossecret"), self.s3("photoskey", "rotated")
        old.put_object(Bucket=BUCKET, Key="k", Body=b"data")
        self.assertEqual(refusal(lambda: new.head_bucket(Bucket=BUCKET)), "403")
        self.reload("photossecret", "rotated")
        self.assertEqual(refusal(lambda: old.get_object(Bucket=BUCKET, Key="k")), "SignatureDoesNotMatch")
        self.assertEqual(new.get_object(Bucket=BUCKET, Key="k")["Body"].read(), b"data")
        self.reload("photoskey", "otherkey")
        self.assertEqual(refusal(lambda: new.get_object(Bucket=BUCKET, Key="k")), "InvalidAccessKeyId")
        self.assertNotIn("rotated", self.daemon.log.read_text())

    def test_buckets(self) -> None:
        """A bucket comes and goes with the file; its objects stay."""
        more = "  - {name: more, credentials: [{access_key_id: morekey, secret_access_key: moresecret}]}\n"
        client = self.s3("morekey", "moresecret")
        self.reload("buckets:\n", f"buckets:\n{more}")
        client.put_object(Bucket="more", Key="k", Body=b"data")
        self.reload(more, "")
        self.assertEqual(refusal(lambda: client.get_object(Bucket="more", Key="k")), "InvalidAccessKeyId")
        self.reload("buckets:\n", f"buckets:\n{more.replace('morekey', 'again')}")
        body = self.s3("again", "moresecret").get_object(Bucket="more", Key="k")["Body"]
        self.assertEqual(body.read(), b"data")
        self.assertEqual(self.client.list_buckets()["Buckets"][0]["Name"], BUCKET)

    def test_uploads_at_a_time(self) -> None:
        """How many multipart uploads may be open follows the file."""
        self.client.create_multipart_upload(Bucket=BUCKET, Key="k")
        self.reload("{name: photos,", "{name: photos, max_multipart_uploads: 1,")
        self.assertNotEqual(refusal(lambda: self.client.create_multipart_upload(Bucket=BUCKET, Key="k")), "")
        self.reload("max_multipart_uploads: 1", "max_multipart_uploads: 2")
        self.client.create_multipart_upload(Bucket=BUCKET, Key="k")

    def test_quotas(self) -> None:
        """A quota that is lowered holds for the next object, and is shown; so is one that is raised."""
        self.reload("quota_bytes: 1GB", "quota_bytes: 1KB")
        shown = self.ask("/admin/api/status")[1]["backends"]
        self.assertEqual({backend["bytes_limit"] for backend in shown}, {1024})
        put = {"Bucket": BUCKET, "Key": "k", "Body": bytes(MIB)}
        self.assertEqual(refusal(lambda: self.client.put_object(**put)), "InsufficientStorage")
        self.reload("quota_bytes: 1KB", "quota_bytes: 0")
        self.client.put_object(**put)

    def test_usage_limits(self) -> None:
        """So does a monthly limit."""
        self.put("k")
        self.reload("quota_bytes: 1GB", "quota_bytes: 1GB, egress_byte_limit: 1")
        self.assertEqual(refusal(lambda: self.client.get_object(Bucket=BUCKET, Key="k")), "SlowDown")
        self.reload("egress_byte_limit: 1", "egress_byte_limit: 0")
        self.client.get_object(Bucket=BUCKET, Key="k")

    def test_rate_limits(self) -> None:
        """The limit for each address is switched on, changed and switched off."""
        limit = "rate_limit: {enabled: true, requests_per_sec: 1, burst: 2}\n"
        self.reload("buckets:\n", f"{limit}buckets:\n")
        self.assertIn("SlowDown", self.asked_often())
        self.reload("burst: 2", "burst: 50")
        self.reload(limit.replace("burst: 2", "burst: 50"), "")
        self.assertEqual(self.asked_often(), {""})

    def asked_often(self) -> set[str]:
        return {refusal(lambda: self.client.list_objects_v2(Bucket=BUCKET)) for _ in range(10)}

    def test_intervals(self) -> None:
        """A service that waits takes its new interval at once."""
        self.assertEqual(self.workers()["usage-flush"]["interval"], 5)
        since = self.workers()["usage-flush"]["last_success"]
        self.edit("buckets:\n", "multipart: {stale_after: 30m}\nbuckets:\n")
        self.reload("buckets:\n", "usage_flush: {interval: 1s, fast_interval: 500ms}\nbuckets:\n")
        self.assertEqual(self.workers()["usage-flush"]["interval"], 0.5)
        self.assertEqual(self.workers()["stale-uploads"]["interval"], 1800)
        wait_until(
            lambda: self.workers()["usage-flush"]["last_success"] not in (None, since),
            "usage is not recorded any more often",
        )

    def workers(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.ask("/admin/api/workers")[1]["workers"]}

    def test_level(self) -> None:
        """The level is the file's when that changes it."""
        self.reload("server: {", "server: {log_level: debug, ")
        self.assertEqual(self.told("log-level"), "debug\n")
        self.told("log-level", "warn")
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(lambda: self.status()["generation"] == 3, "it does not reload")
        self.assertEqual(self.told("log-level"), "warn\n")

    def test_told(self) -> None:
        """Log, audit trail and status say what was taken over and what needs a restart."""
        self.assertEqual(self.told("reload-status"), "generation 1, as it was at the start\n")
        self.edit("routing_strategy: spread", "routing_strategy: pack")
        self.edit("server: {", "server: {read_timeout: 9m, domains: [s3.example.net], ")
        self.edit("photossecret", "rotated")
        self.reload()
        said = [(each["level"], each["msg"]) for each in self.lines() if each["component"] == "reload"]
        self.assertEqual(
            [line for line in said if "replication.factor" not in line[1]],  # which `validate` warns of, too
            [
                ("info", f"SIGHUP received, the configuration is read again: {self.config}"),
                ("info", "reloaded: buckets and credentials (1 buckets, 0 users)"),
                ("warn", "need a restart: server.read_timeout, server.domains, routing_strategy"),
                ("info", "configuration reload complete: generation 2, 1 settings changed"),
            ],
        )
        self.assertEqual(len(said), 5)
        (audited,) = self.audited()
        changed = "buckets[0].credentials[0].secret_access_key"
        self.assertEqual((audited["status"], audited["changed"]), ("success", changed))
        status = self.status()
        self.assertEqual((status["generation"], status["status"], status["error"]), (2, "success", None))
        self.assertEqual(status["changed"], [changed])
        self.assertEqual(status["ignored"], ["server.read_timeout", "server.domains", "routing_strategy"])
        self.assertIn(
            f"changed: {changed}\nneeds a restart: server.read_timeout\n", self.told("reload-status")
        )
        self.assertEqual(json.loads(self.told("reload-status", "--json")), status)


class KeepingTests(ReloadCase):
    def test_invalid(self) -> None:
        """A file with problems changes nothing; all of them are told, and mended it is taken over."""
        self.put("k")
        self.edit("photossecret", "rotated")
        said = self.reload("buckets:\n", "nonsense: 1\nusage_flush: {interval: 1}\nbuckets:\n")
        self.assertIn("keeping the current one: ", said)
        for problem in ("nonsense", "usage_flush.interval"):
            self.assertIn(problem, said)
        self.client.get_object(Bucket=BUCKET, Key="k")
        told = self.told("reload-status", status=1)
        self.assertRegex(
            told, r"generation 1, reload refused at 20\d\d-.*Z\nkeeping the one before: nonsense"
        )
        self.assertIn("complete", self.reload("nonsense: 1\nusage_flush: {interval: 1}\n", ""))
        self.assertEqual(refusal(lambda: self.client.head_bucket(Bucket=BUCKET)), "403")
        self.assertEqual(self.status()["generation"], 2)

    def test_gone(self) -> None:
        """So does a file that is not there."""
        text = self.config.read_text()
        self.config.unlink()
        os.kill(self.daemon.pid, signal.SIGHUP)
        wait_until(lambda: len(self.ends()) == 1, "nothing is said")
        self.assertIn("there is no such file", self.ends()[0])
        self.put("k")
        self.config.write_text(text)
        self.assertIn("complete", self.reload())


class UndisturbedTests(ReloadCase):
    """What goes on meanwhile does not notice."""

    def test_transfers(self) -> None:
        """A download and an upload go on through reloads, also when their credentials go."""
        data = os.urandom(8 * MIB)
        self.client.put_object(Bucket=BUCKET, Key="read", Body=data)
        place = {"Bucket": BUCKET, "Key": "written"}
        writing = SlowUpload(self.client.generate_presigned_url("put_object", place), data)
        writing.start()
        reading = self.client.get_object(Bucket=BUCKET, Key="read")["Body"]
        read = reading.read(1000)
        writing.begun.wait(PATIENCE)
        for number in range(5):
            self.reload(f"photossecret{number or ''}", f"photossecret{number + 1}")
        self.assertTrue(writing.is_alive())
        self.assertEqual(read + reading.read(), data)
        writing.join(PATIENCE)
        self.assertEqual(writing.status, 200)
        again = self.s3("photoskey", "photossecret5").get_object(Bucket=BUCKET, Key="written")["Body"]
        self.assertEqual(again.read(), data)

    def test_client_without_pause(self) -> None:
        """Clients that never stop see no error through twenty reloads that change all kinds of things."""
        failures: list[BaseException] = []
        over, count = threading.Event(), [0, 0]

        def ask(number: int) -> None:
            client, key = self.s3("photoskey", "photossecret"), f"k{number}"
            try:
                while not over.is_set():
                    body = os.urandom(20_000)
                    client.put_object(Bucket=BUCKET, Key=key, Body=body)
                    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
                    count[number] += 1
            except (ClientError, OSError, AssertionError) as error:
                failures.append(error)

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for client in clients:
            client.start()
        for number in range(0, 20, 2):
            more = f"  - {{name: more{number}, credentials: [{{token: t{number}}}]}}\n"
            quota, interval = f"quota_bytes: {number + 1}GB", f"usage_flush: {{interval: {number + 10}s}}\n"
            self.edit("quota_bytes: 1GB", quota)
            self.assertIn("complete", self.reload("buckets:\n", f"{interval}buckets:\n{more}"))
            self.edit(quota, "quota_bytes: 1GB")
            self.assertIn("complete", self.reload(f"{interval}buckets:\n{more}", "buckets:\n"))
        over.set()
        for client in clients:
            client.join(PATIENCE)
        self.assertEqual(failures, [])
        self.assertGreater(min(count), 10)
        self.assertEqual(self.status()["generation"], 21)
        self.assertNotIn("Traceback", self.daemon.log.read_text())


class CertificateTests(SynchronousTestCase):
    """A daemon that speaks TLS; its certificate is renewed by somebody else."""

    workers = CHOSEN

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment = disks(self.directory, driver="sqlite")
        self.authority = Authority()
        self.issue()
        path = self.deployment.config_path
        tls = f'tls: {{cert_file: "{self.directory}/server.crt", key_file: "{self.directory}/server.key"}}'
        path.write_text(
            with_workers(path.read_text().replace("server: {", f"server: {{{tls}, "), self.workers)
        )
        self.log = self.directory / "tls.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([COMMAND, "serve", "--config", str(path)], stdout=log, stderr=log)
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        wait_until(lambda: "serving at https://" in self.log.read_text(), "it does not serve")

    def issue(self) -> None:
        self.authority.issue("server", self.directory)

    def connect(self) -> ssl.SSLSocket:
        """Connect without looking whose certificate it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = socket.create_connection(("127.0.0.1", self.deployment.daemon.port), PATIENCE)
        return context.wrap_socket(connection)

    def certificate(self) -> bytes | None:
        """What new connections are shown."""
        with self.connect() as connection:
            return connection.getpeercert(binary_form=True)

    def reload(self) -> str:
        before = self.log.read_text().count("configuration reload")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.read_text().count("configuration reload") > before, "it does not reload")
        return self.log.read_text().splitlines()[-2]

    def test_renewed(self) -> None:
        """New connections see the new certificate; those that were there live on."""
        first = self.certificate()
        with self.connect() as connection:
            self.issue()
            self.reload()
            self.assertNotEqual(self.certificate(), first)
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"200 OK", connection.recv(1000))

    def test_unusable(self) -> None:
        """A certificate that cannot be used keeps everything as it is, the rest of the file included."""
        first = self.certificate()
        (self.directory / "server.crt").write_text("nothing of the kind")
        path = self.deployment.config_path
        path.write_text(path.read_text().replace("photossecret", "rotated"))
        self.reload()
        self.assertIn("configuration reload failed, keeping the current one", self.log.read_text())
        self.assertIn("server.crt", self.log.read_text())
        self.assertEqual(self.certificate(), first)
        self.issue()
        self.reload()
        self.assertNotEqual(self.certificate(), first)


class WorkersCertificateTests(CertificateTests):
    """The same of several processes, each of which reads the files; no client meets one that has not."""

    workers = 2
