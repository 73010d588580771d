"""The metrics of a real daemon, as Prometheus and its tools see them."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator import __version__
from tests.integration.scraping import Scrapee, scrapees
from tests.running import fetch


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

    def test_worker(self) -> None:
        """An instance that serves no objects is watched like others."""
        scrapee = self.start(mode="worker")
        self.assertGreater(scrapee.scrape().total("s3o_worker_ticks_total"), 0)
