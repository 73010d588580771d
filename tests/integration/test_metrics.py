"""The metrics of a real daemon, as Prometheus and its tools see them."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator import __version__
from tests.integration.scraping import BUCKET, Scraped, Scrapee, promtool, scrapees, traffic
from tests.running import COMMAND, PATIENCE, fetch, wait_until

# What promtool has against names that are a predecessor's: dashboards of its users know them.
EXPLAINED = {
    # "Count" is what it is: a gauge of how many objects there are.
    "s3o_objects_count": 'non-histogram and non-summary metrics should not have "_count" suffix',
}


class MetricsCase(SynchronousTestCase):
    def start(self, **options: object) -> Scrapee:
        """A daemon that serves."""
        (scrapee,) = scrapees(Path(self.mktemp()).absolute(), **options)  # type: ignore[arg-type]
        self.addCleanup(scrapee.daemon.kill)
        scrapee.daemon.start()
        return scrapee


class PlaceTests(MetricsCase):
    def test_beside_the_buckets(self) -> None:
        """Without a listener of its own the page is where clients are, in both formats, for anybody."""
        scrapee = self.start(path="/~metrics/s3")
        page = scrapee.fetch()
        self.assertEqual(
            (page.status, page.headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8")
        )
        self.assertIn(f'version="{__version__}"'.encode(), page.body)
        other = scrapee.fetch("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
        self.assertTrue(other.body.endswith(b"# EOF\n"))
        self.assertEqual(scrapee.fetch(method="POST").status, 405)
        self.assertEqual(scrapee.fetch(method="HEAD").body, b"")

    def test_listener_of_its_own(self) -> None:
        """There it is alone with health, and where clients are its path is a bucket's."""
        scrapee = self.start(own_listener=True, path="/photos")
        base = scrapee.page_url.removesuffix("/photos")
        self.assertEqual(scrapee.fetch().status, 200)
        self.assertEqual(fetch(f"{base}/health").status, 200)
        self.assertEqual(fetch(f"{base}/health/ready").status, 200)
        for path in ("/", "/metrics", "/photos/k", "/admin/api/status"):
            self.assertEqual(fetch(base + path).status, 404)
        client = scrapee.client()
        client.put_object(Bucket="photos", Key="k", Body=b"x")
        self.assertEqual(client.list_objects_v2(Bucket="photos")["KeyCount"], 1)
        scrapee.daemon.stop()

    def test_listener_taken(self) -> None:
        """
        Somebody else listens there: it does not start, and says why.
        """
        (scrapee,) = scrapees(Path(self.mktemp()).absolute(), own_listener=True)
        port = int(scrapee.page_url.split(":")[2].split("/")[0])
        with closing(socket.create_server(("127.0.0.1", port))):
            ended = subprocess.run(
                [COMMAND, *scrapee.daemon.arguments],
                env=dict(scrapee.daemon.environment),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}: Address already in use", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr + ended.stdout)

    def test_worker(self) -> None:
        """An instance that serves no objects is watched like others."""
        scrapee = self.start(mode="worker")
        self.assertGreater(scrapee.scrape().total("s3o_worker_ticks_total"), 0)


class PageTests(SynchronousTestCase):
    """One daemon, after all kinds of traffic."""

    scrapee: ClassVar[Scrapee]
    page: ClassVar[Scraped]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = TemporaryDirectory()
        (cls.scrapee,) = scrapees(Path(cls.folder.name), own_listener=True)
        cls.scrapee.daemon.start()
        traffic(cls.scrapee)
        # What the ledger says comes with the next flush.
        wait_until(lambda: cls.scrapee.scrape().total("s3o_quota_bytes_used") == 14_000, "nothing is shown")
        cls.page = cls.scrapee.scrape()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.scrapee.daemon.kill()
        cls.folder.cleanup()

    def test_lint(self) -> None:
        """
        promtool finds nothing to complain of but what is explained here.
        """
        checked = promtool("check", "metrics", given=self.page.text)
        found = dict(line.split(" ", 1) for line in checked.stderr.splitlines())
        self.assertEqual(found, EXPLAINED)

    def test_operations(self) -> None:
        """
        The engine's operations are counted with their backend, failures too; so are the calls of backends.
        """
        manager = self.page.all("s3o_manager_requests_total")
        for expected in (
            ("limited", "PutObject", "success"),
            ("limited", "GetObject", "success"),
            ("", "GetObject", "success"),  # of what is not there: answered
            ("", "DeleteObject", "success"),
            ("", "ListObjects", "success"),
            ("limited", "CreateMultipartUpload", "success"),
            ("", "GetObject", "error"),  # of what no backend has
        ):
            self.assertGreater(manager[expected], 0, expected)
        self.assertGreater(
            self.page.total("s3o_backend_requests_total", operation="PutObject", status="success"), 0
        )
        self.assertGreater(self.page.total("s3o_manager_duration_seconds_count", operation="PutObject"), 0)

    def test_gauges(self) -> None:
        """
        What is stored and used is told by backend; a quota and a limit only where there is one.
        """
        self.assertEqual(self.page.get("s3o_quota_bytes_limit", backend="limited"), 100 << 20)
        self.assertIsNone(self.page.get("s3o_quota_bytes_limit", backend="roomy"))
        self.assertIsNone(self.page.get("s3o_quota_bytes_available", backend="roomy"))
        self.assertGreater(self.page.get("s3o_quota_bytes_used", backend="limited"), 0)
        self.assertEqual(self.page.get("s3o_quota_bytes_used", backend="roomy"), 0)
        self.assertEqual(self.page.get("s3o_usage_api_requests_limit", backend="limited"), 100_000)
        self.assertGreater(self.page.get("s3o_usage_api_requests", backend="limited"), 0)
        self.assertEqual(self.page.get("s3o_circuit_breaker_state", name="database"), 0)
        self.assertEqual(self.page.get("s3o_database_waiting"), 0)
        self.assertGreater(self.page.get("s3o_reactor_lag_seconds_count"), 0)
        self.assertGreater(self.page.get("process_resident_memory_bytes"), 0)

    def test_from_the_start(self) -> None:
        """
        What alerts ask for is there before anything has happened, at 0.
        """
        for name, labels in (
            ("s3o_usage_limit_rejections_total", {"operation": "PutObject", "limit_type": "write"}),
            ("s3o_circuit_breaker_transitions_total", {"name": "limited", "from": "closed", "to": "open"}),
            ("s3o_degraded_reads_total", {"operation": "GetObject"}),
            ("s3o_cleanup_queue_processed_total", {"status": "exhausted"}),
            ("s3o_worker_ticks_total", {"service": "cleanup", "result": "error"}),
            ("s3o_pending_intents_resolved_total", {"status": "dropped"}),
        ):
            self.assertEqual(self.page.get(name, **labels), 0, name)

    def test_scraped_under_load(self) -> None:
        """
        Requests go on while four scrapers ask all the time; all get whole pages.
        """
        client, slowest, stop = self.scrapee.client(), [0.0], threading.Event()
        failures: list[str] = []

        def ask() -> None:
            while not stop.is_set():
                page = self.scrapee.fetch()
                if page.status != 200 or b"s3o_build_info" not in page.body:
                    failures.append(repr(page)[:200])

        scrapers = [threading.Thread(target=ask) for _ in range(4)]
        for scraper in scrapers:
            scraper.start()
        try:
            for number in range(100):
                began = time.monotonic()
                client.put_object(Bucket=BUCKET, Key=f"load/{number}", Body=b"x")
                slowest[0] = max(slowest[0], time.monotonic() - began)
        finally:
            stop.set()
            for scraper in scrapers:
                scraper.join()
        self.assertEqual(failures, [])
        self.assertLess(slowest[0], 5)  # a busy machine's patience; a stall is for ever


class InventoryTests(MetricsCase):
    def test_objects(self) -> None:
        """
        How many objects and uploads there are is counted at start, and once a minute.
        """
        scrapee = self.start()
        traffic(scrapee)
        scrapee.daemon.stop()
        scrapee.daemon.start()
        page = scrapee.scrape()
        self.assertEqual(page.all("s3o_objects_count"), {("limited",): 3, ("roomy",): 0})
        self.assertEqual(page.all("s3o_active_multipart_uploads"), {("limited",): 1, ("roomy",): 0})


class InstancesTests(MetricsCase):
    def test_agreement(self) -> None:
        """
        Two daemons on one PostgreSQL show the same of what the ledger knows, and each its own of the rest.
        """
        both = scrapees(Path(self.mktemp()).absolute(), 2, driver="postgres", own_listener=True)
        for one in both:
            self.addCleanup(one.daemon.kill)
            one.daemon.start()
        traffic(both[0])

        def shown(one: Scrapee) -> list[Any]:
            page = one.scrape()
            names = ("s3o_quota_bytes_used", "s3o_quota_bytes_available", "s3o_usage_egress_bytes")
            return [page.all(name) for name in names]

        wait_until(lambda: shown(both[0])[0][("limited",)] > 0, "nothing is shown")
        wait_until(lambda: shown(both[0]) == shown(both[1]), "they do not agree")
        writes = [one.scrape().total("s3o_manager_requests_total", operation="PutObject") for one in both]
        self.assertGreater(writes[0], 0)
        self.assertEqual(writes[1], 0)
        connections = both[0].scrape().all("s3o_database_connections")
        self.assertEqual(set(connections), {("busy",), ("idle",)})
        self.assertGreater(sum(connections.values()), 0)
