"""What the clients are let loose on: one daemon, a directory and two S3 servers behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256, shake_128
from pathlib import Path
from typing import Any

import boto3
from attrs import define, field
from botocore.config import Config

from tests.ledgers import CHOSEN, Places, ledger
from tests.running import Deployment, DirectoryStorage, S3Storage, Storage, digest_of, wait_until
from tests.servers import Server
from tests.unit.web.certificates import Authority

ROOT = Path(__file__).parent.parent.parent
MIB = 1 << 20
DOMAIN = "s3.test"
BUCKETS = ("photos", "documents", "backups")
# Names of key pairs and their secrets; the characters of real ones, which tools like to trip over.
SECRETS = {
    "photos": ("PHOTOSKEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE="),
    "documents": ("DOCSKEY", "docs+secret/with=signs"),
    "backups": ("BACKUPSKEY", "backups-secret"),
    "alice": ("ALICEKEY", "alice+secret/1="),
    "reader": ("READERKEY", "reader-secret"),
    "writer": ("WRITERKEY", "writer-secret"),
}

_CONFIGURATION = """\
server:
  listeners:
    - {{address: "127.0.0.1:{port}"}}
    - {{address: "127.0.0.1:0", tls: {{cert_file: "{cert_file}", key_file: "{key_file}"}}}}
  domains: ["{domain}"]
  log_level: info
{ledger}
routing_strategy: spread
write_path: {{quiet_period: 2s}}
backends:
  - {{name: disk, type: directory, path: "{disk}", quota_bytes: 3GB}}
{backends}
buckets:
{buckets}
users:
  - name: alice
    credentials: [{alice}]
    create_buckets: true
    buckets: [photos, documents, backups]
  - name: reader
    credentials: [{reader}]
    buckets: [photos]
    access: read
  - name: writer
    credentials: [{writer}]
    buckets: [photos]
    access: write
"""

_BACKEND = """\
  - name: {name}
    endpoint: "{endpoint}"
    bucket: "{bucket}"
    access_key_id: "{key}"
    secret_access_key: "{secret}"
    force_path_style: true
    quota_bytes: 3GB
"""


def boto3_client(endpoint: str, key: str, secret: str, verify: str | None = None, **settings: Any) -> Any:
    """Return a boto3 client that asks `endpoint`, and asks once unless told otherwise."""
    settings.setdefault("retries", {"total_max_attempts": 1})
    settings.setdefault("s3", {"addressing_style": "path"})
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=verify,
        config=Config(**settings),
    )


@define(eq=False)
class Clients(Deployment):
    """
    The deployment all clients share.

    `written` is what they have stored so far: the SHA-256 of each `bucket/key`. `ca_file` is
    whom clients over HTTPS must trust.
    """

    directory: Path
    ca_file: str
    written: dict[str, str] = field(init=False, factory=dict)

    def boto3(self, who: str = "alice", endpoint: str | None = None, **settings: Any) -> Any:
        """Return a boto3 client of one of `SECRETS`."""
        return boto3_client(endpoint or self.daemon.endpoint, *SECRETS[who], **settings)

    @property
    def secure_endpoint(self) -> str:
        """The same over HTTPS; another one after each start."""
        return re.findall(r"https://127\.0\.0\.1:\d+", self.daemon.log.read_text())[-1]

    def empty(self) -> None:
        """Remove everything, so that one client's leavings do not become another one's failure."""
        alice = self.boto3()
        for bucket in [entry["Name"] for entry in alice.list_buckets()["Buckets"]]:
            for upload in alice.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
                alice.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            empty_bucket(alice, bucket)
            if bucket not in BUCKETS:
                alice.delete_bucket(Bucket=bucket)
        self.written.clear()
        # What is still being deleted takes room, and would be held against its backend.
        wait_until(lambda: not self.ledger.doomed(), "what was deleted is still there")

    def listed(self) -> set[str]:
        """Every `bucket/key` that there is, as a client sees it."""
        alice = self.boto3()
        return {
            f"{bucket['Name']}/{entry['Key']}"
            for bucket in alice.list_buckets()["Buckets"]
            for page in alice.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
            for entry in page.get("Contents", [])
        }


def empty_bucket(client: Any, bucket: str) -> None:
    """Delete all versions of all objects, as tools that empty buckets do."""
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        entries = [
            {"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page.get("Versions", [])
        ]
        # XML cannot carry such a key, so a list of what to delete cannot name it.
        awkward = [entry for entry in entries if re.search("[\x00-\x1f\ufffe\uffff]", entry["Key"])]
        for entry in awkward:
            client.delete_object(Bucket=bucket, **entry)
        if plain := [entry for entry in entries if entry not in awkward]:
            reply = client.delete_objects(Bucket=bucket, Delete={"Objects": plain, "Quiet": True})
            assert not reply.get("Errors"), reply


def deploy(directory: Path, servers: Iterable[Server], driver: str = CHOSEN) -> Clients:
    """Write the configuration into `directory`; the daemon is not started yet."""
    chosen, listening = ledger(directory, driver), Places(driver)
    storage: dict[str, Storage] = {"disk": DirectoryStorage(directory / "disk")}
    backends = ""
    for server in servers:
        bucket = server.make_bucket()
        storage[server.kind] = S3Storage(server.client(), bucket)
        backends += _BACKEND.format(
            name=server.kind,
            endpoint=server.endpoint,
            bucket=bucket,
            key=server.access_key_id,
            secret=server.secret_access_key,
        )
    authority = Authority()
    cert_file, key_file = authority.issue("server", directory, [DOMAIN, f"*.{DOMAIN}"])
    config = directory / "s3orchestrator.yaml"
    config.write_text(
        _CONFIGURATION.format(
            domain=DOMAIN,
            ledger=chosen.line,
            port=listening.port,
            cert_file=cert_file,
            key_file=key_file,
            disk=directory / "disk",
            backends=backends.rstrip(),
            buckets="\n".join(f"  - {{name: {name}, credentials: [{_key_pair(name)}]}}" for name in BUCKETS),
            **{user: _key_pair(user) for user in ("alice", "reader", "writer")},
        )
    )
    return Clients(
        config,
        listening.daemons(config, directory),
        chosen.rows,
        storage,
        directory,
        authority.write(directory / "ca.pem"),
    )


def _key_pair(who: str) -> str:
    key, secret = SECRETS[who]
    return f'{{access_key_id: "{key}", secret_access_key: "{secret}"}}'


def content(seed: str, size: int) -> bytes:
    """Return `size` bytes that look random and are always the same for `seed`."""
    return shake_128(seed.encode()).digest(size)


def digest(data: bytes | Path) -> str:
    """SHA-256 of bytes or of a file, in hex."""
    if isinstance(data, bytes):
        return sha256(data).hexdigest()
    with data.open("rb") as file:
        return digest_of(iter(lambda: file.read(MIB), b""))


def tool_environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with our tools in front and nothing of the caller's settings."""
    return {
        "PATH": f"{ROOT}/.cache/bin:{os.environ['PATH']}",
        "NODE_PATH": f"{ROOT}/.cache/node/node_modules",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **more,
    }
