"""A daemon that is scraped: its configuration, and its page taken apart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from tests.clients.deployment import boto3_client
from tests.forked import ForkedDaemon
from tests.ledgers import ledger
from tests.ports import free_port
from tests.running import PATIENCE, Answer, Daemon, LedgerRows, fetch
from tests.unit.web.certificates import Authority

BUCKET = "photos"

_CONFIGURATION = """\
mode: {mode}
server:
  max_concurrent_requests: 50
  listeners:
    - {{address: "127.0.0.1:${{S3O_PORT}}"}}
    - {{address: "127.0.0.1:0", tls: {{cert_file: "{cert_file}", key_file: "{key_file}"}}}}
telemetry: {{metrics: {{enabled: true, path: {path}, listen: "{listen}"}}}}
{ledger}
write_path: {{quiet_period: 1s}}
usage_flush: {{interval: 1s, fast_interval: 500ms}}
backend_circuit_breaker: {{enabled: true, failure_threshold: 3, open_timeout: 1h}}
backends:
  - {{name: limited, type: directory, path: "{directory}/limited", quota_bytes: 100MB,
      api_request_limit: 100000, egress_byte_limit: 1GB, ingress_byte_limit: 1GB}}
  - {{name: roomy, type: directory, path: "{directory}/roomy"}}
buckets:
  - {{name: photos, credentials: [{{access_key_id: photoskey, secret_access_key: photossecret}}]}}
"""

Labels = Mapping[str, str]


@frozen
class Scraped:
    """A page in Prometheus' text format."""

    text: str
    samples: list[tuple[str, Labels, float]] = field(init=False)

    @samples.default
    def _parsed(self) -> list[tuple[str, Labels, float]]:
        families = text_string_to_metric_families(self.text)
        return [(one.name, one.labels, one.value) for family in families for one in family.samples]

    def get(self, name: str, /, **labels: str) -> float | None:
        """The value of one series, None if it is not there."""
        found = [value for known, has, value in self.samples if known == name and has == labels]
        assert len(found) <= 1, f"{name} is there several times"
        return found[0] if found else None

    def total(self, name: str, /, **labels: str) -> float:
        """The sum over all series of that name that have these labels."""
        return sum(
            value for known, has, value in self.samples if known == name and labels.items() <= has.items()
        )

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Every series of that name, by the values of its labels in the order of their names."""
        return {
            tuple(has[label] for label in sorted(has)): value
            for known, has, value in self.samples
            if known == name
        }


@define(eq=False)
class Scrapee:
    """A daemon, and where its page is."""

    daemon: Daemon
    page_url: str
    rows: LedgerRows

    def fetch(self, accept: str = "", method: str = "GET") -> Answer:
        """Ask for the page."""
        return fetch(self.page_url, method, headers={"Accept": accept} if accept else {})

    def scrape(self) -> Scraped:
        """Return the page."""
        answer = self.fetch()
        assert answer.status == 200, answer
        return Scraped(answer.body.decode())

    def client(self) -> Any:
        """A boto3 client that asks once."""
        return boto3_client(
            self.daemon.endpoint,
            "photoskey",
            "photossecret",
            signature_version="s3v4",
            max_pool_connections=16,
        )


def scrapees(
    directory: Path,
    count: int = 1,
    *,
    driver: str = "sqlite",
    own_listener: bool = False,
    path: str = "/metrics",
    mode: str = "all",
) -> list[Scrapee]:
    """Write a configuration below `directory`, for daemons that share it; nothing is started yet."""
    directory.mkdir(parents=True, exist_ok=True)
    chosen = ledger(directory, driver)
    config = directory / "s3orchestrator.yaml"
    listen = "127.0.0.1:${S3O_METRICS_PORT}" if own_listener else ""
    cert_file, key_file = Authority().issue("server", directory)
    config.write_text(
        _CONFIGURATION.format(
            mode=mode,
            ledger=chosen.line,
            directory=directory,
            listen=listen,
            path=path,
            cert_file=cert_file,
            key_file=key_file,
        )
    )
    found = []
    for number in range(count):
        port, other = free_port(), free_port()
        environment = {**os.environ, "S3O_PORT": str(port), "S3O_METRICS_PORT": str(other)}
        log = directory / f"daemon-{number}.log"
        daemon = ForkedDaemon(["serve", "--config", str(config)], port, log, environment)
        page = f"http://127.0.0.1:{other if own_listener else port}{path}"
        found.append(Scrapee(daemon, page, chosen.rows))
    return found


def traffic(scrapee: Scrapee) -> None:
    """Do what clients do: write, read, list, copy, delete, upload in parts; ask for what cannot be had."""
    client = scrapee.client()
    for key in ("one", "two", "lost"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode() * 1000)
    client.put_object(Bucket=BUCKET, Key="one", Body=b"again" * 1000)
    client.get_object(Bucket=BUCKET, Key="one")["Body"].read()
    client.head_object(Bucket=BUCKET, Key="one")
    client.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "one"})
    client.list_objects_v2(Bucket=BUCKET)
    client.delete_object(Bucket=BUCKET, Key="two")
    client.create_multipart_upload(Bucket=BUCKET, Key="parts")
    refused(lambda: client.get_object(Bucket=BUCKET, Key="nothing"), 404)
    # Somebody has been at the disk: the object is there for the ledger, and cannot be read.
    for path in scrapee.daemon.log.parent.glob("*/photos/lost*"):
        path.unlink()
    refused(lambda: client.get_object(Bucket=BUCKET, Key="lost"), 503)


def refused(ask: Callable[[], object], status: int) -> None:
    """The request is answered with that status."""
    try:
        ask()
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error
    else:
        raise AssertionError("it succeeded")


def promtool(
    *arguments: str, given: str = "", directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own tool."""
    return subprocess.run(
        ["promtool", *arguments],
        input=given,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
