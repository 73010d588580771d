"""A daemon over two directories, and clients that write to it all at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import boto3
from attrs import define, field
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.forked import ForkedDaemon
from tests.ledgers import CHOSEN, Places, ledger
from tests.running import Daemon, Deployment, DirectoryStorage

T = TypeVar("T")

BUCKET = "photos"
QUOTA = 1 << 30
MIB = 1 << 20

_CONFIGURATION = """\
server: {{listen_addr: "127.0.0.1:{port}", log_level: info}}
{ledger}
routing_strategy: spread
write_path: {{quiet_period: 1s, pending_pattern: {{reaper_interval: 1s, min_age: 1s}}}}
backends:
  - {{name: disk1, type: directory, path: "{disk1}", quota_bytes: {quota}}}
  - {{name: disk2, type: directory, path: "{disk2}", quota_bytes: {quota}}}
buckets:
  - {{name: photos, credentials: [{{access_key_id: photoskey, secret_access_key: photossecret}}]}}
"""


@define(eq=False)
class Disks(Deployment):
    """A deployment of a ledger and two directories."""

    directory: Path

    def client(self) -> Any:
        """A boto3 client for many threads, that asks once, hears quickly, and leaves before a stop."""
        client = boto3.client(
            "s3",
            endpoint_url=self.daemon.endpoint,
            region_name="us-east-1",
            aws_access_key_id="photoskey",
            aws_secret_access_key="photossecret",
            config=Config(
                retries={"total_max_attempts": 1},
                signature_version="s3v4",  # of presigned URLs, too
                s3={"addressing_style": "path"},
                max_pool_connections=32,
                connect_timeout=5,
                read_timeout=30,
            ),
        )
        self.daemon.clients.add(client)
        return client

    def restart(self) -> None:
        """Die, and come back."""
        self.daemon.kill()
        self.daemon.start()

    def configuration(self) -> str:
        """What the file says."""
        return self.config_path.read_text()


def disks(
    directory: Path,
    quota: int = QUOTA,
    disk1: Path | None = None,
    disk2: Path | None = None,
    driver: str = CHOSEN,
    kind: type[Daemon] = ForkedDaemon,
) -> Disks:
    """Write a configuration below `directory`; nothing is started yet."""
    directory.mkdir(parents=True, exist_ok=True)
    places = {"disk1": disk1 or directory / "disk1", "disk2": disk2 or directory / "disk2"}
    chosen, listening = ledger(directory, driver), Places(driver)
    config = directory / "s3orchestrator.yaml"
    config.write_text(_CONFIGURATION.format(ledger=chosen.line, port=listening.port, quota=quota, **places))
    return Disks(
        config,
        listening.daemons(config, directory, kind),
        chosen.rows,
        {name: DirectoryStorage(path) for name, path in places.items()},
        directory,
    )


def digest(data: bytes) -> str:
    """SHA-256, in hex."""
    return sha256(data).hexdigest()


def at_once(work: Callable[[int], T], count: int) -> list[T]:
    """Call `work` with 0 to `count` - 1 in as many threads; returns what they returned."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def refusal(work: Callable[[], object]) -> str:
    """Return the code with which a request is refused, or "" if it succeeds."""
    try:
        work()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


GONE = ""  # stands for the digest of an object that is not there


@define(eq=False)
class Writer:
    """
    A client that does this and that with keys of its own, and knows what may be there.

    `known` has the digest of each key after what was last acknowledged; `possible` what it
    may be as well, because a request got no answer or a failure.
    """

    client: Any
    name: str
    seed: int
    known: dict[str, str] = field(init=False, factory=dict)
    possible: dict[str, set[str]] = field(init=False, factory=dict)
    unanswered: dict[str, tuple[dict[str, Any], str]] = field(init=False, factory=dict)
    acknowledged: int = field(init=False, default=0)
    _random: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def work(self) -> None:
        """Go on until the server is gone."""
        actions = (self.put, self.put, self.put_large, self.delete, self.delete_many, self.copy, self.upload)
        while True:
            try:
                self._random.choice(actions)()
                self.acknowledged += 1
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, error
            except BotoCoreError:
                return

    def _key(self) -> str:
        return f"{self.name}/{self._random.choice('abcdef')}"

    def _change(self, key: str, after: str, work: Callable[[], object]) -> None:
        self.possible.setdefault(key, set()).add(after)
        work()
        self.known[key] = after
        self.possible[key] = set()

    def put(self, size: int = 0) -> None:
        """A small object, or one of `size`."""
        data, key = self._random.randbytes(size or self._random.randrange(5000)), self._key()
        self._change(key, digest(data), lambda: self.client.put_object(Bucket=BUCKET, Key=key, Body=data))

    def put_large(self) -> None:
        """One that streams."""
        self.put(self._random.randrange(1 * MIB, 3 * MIB))

    def delete(self) -> None:
        """One key, whether or not it is there."""
        key = self._key()
        self._change(key, GONE, lambda: self.client.delete_object(Bucket=BUCKET, Key=key))

    def delete_many(self) -> None:
        """Three keys in one request."""
        keys = [f"{self.name}/{letter}" for letter in self._random.sample("abcdef", 3)]
        for key in keys:
            self.possible.setdefault(key, set()).add(GONE)
        entries = [{"Key": key} for key in keys]
        reply = self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": entries})
        for entry in reply["Deleted"]:
            self.known[entry["Key"]] = GONE
            self.possible[entry["Key"]] = set()

    def copy(self) -> None:
        """From one of our keys to another."""
        source, target = self._key(), self._key()
        if self.possible.get(source) or self.known.get(source, GONE) == GONE:
            return
        place = {"Bucket": BUCKET, "Key": source}
        more = {"MetadataDirective": "REPLACE"} if source == target else {}
        self._change(
            target,
            self.known[source],
            lambda: self.client.copy_object(Bucket=BUCKET, Key=target, CopySource=place, **more),
        )

    def upload(self) -> None:
        """In two parts, aborted now and then."""
        key = self._key()
        place = {"Bucket": BUCKET, "Key": key}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        datas = [self._random.randbytes(5 * MIB), self._random.randbytes(1000)]
        parts = [
            {
                "PartNumber": number,
                "ETag": self.client.upload_part(**place, PartNumber=number, Body=data)["ETag"],
            }
            for number, data in enumerate(datas, 1)
        ]
        if self._random.random() < 0.2:
            self.client.abort_multipart_upload(**place)
            return
        whole = digest(b"".join(datas))
        complete = {**place, "MultipartUpload": {"Parts": parts}}
        self.unanswered[key] = complete, whole
        self._change(key, whole, lambda: self.client.complete_multipart_upload(**complete))
        del self.unanswered[key]

    # --- afterwards

    def complete_again(self) -> None:
        """Repeat each Complete that got no answer: it must succeed now."""
        unanswered, self.unanswered = self.unanswered, {}
        for key, (complete, whole) in unanswered.items():
            self.client.complete_multipart_upload(**complete)
            self.known[key] = whole
            self.possible[key] = set()

    def look(self) -> list[str]:
        """Compare every key with what it may be, and take it for known; returns what is wrong."""
        wrong = []
        for key in self.known.keys() | self.possible.keys():
            try:
                found = digest(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())
            except self.client.exceptions.NoSuchKey:
                found = GONE
            allowed = {self.known.get(key, GONE)} | self.possible.get(key, set())
            if found not in allowed:
                wrong.append(f"{key} is {found or 'gone'}, not one of {sorted(allowed)}")
            self.known[key] = found
        self.possible.clear()
        return wrong


def expected(writers: Sequence[Writer]) -> dict[str, str]:
    """What there is of all of them, by `bucket/key`."""
    return {
        f"{BUCKET}/{key}": found for writer in writers for key, found in writer.known.items() if found != GONE
    }
