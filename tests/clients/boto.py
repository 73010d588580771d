"""What the tests with boto3 share."""

from __future__ import annotations

import base64
import socket
from hashlib import md5
from typing import Any

from botocore.exceptions import ClientError

from tests.clients.case import ClientCase
from tests.clients.deployment import DOMAIN, MIB, content

PART = 5 * MIB  # S3's smallest, but for the last


class BotoCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.deployment.boto3()

    def put(self, key: str, data: bytes, bucket: str = "photos", **more: Any) -> Any:
        """Store an object, and note it."""
        reply = self.client.put_object(Bucket=bucket, Key=key, Body=data, **more)
        self.wrote(bucket, key, data)
        return reply

    def get(self, key: str, bucket: str = "photos", **more: Any) -> bytes:
        """Return an object's bytes."""
        body: bytes = self.client.get_object(Bucket=bucket, Key=key, **more)["Body"].read()
        return body

    def refusal(self, operation: str, client: Any = None, **parameters: Any) -> tuple[int, str]:
        """Return status and code of an operation that must fail."""
        try:
            getattr(client or self.client, operation)(**parameters)
        except ClientError as error:
            metadata = error.response["ResponseMetadata"]
            self.assertRegex(metadata["HTTPHeaders"]["x-amz-request-id"], r"^[0-9A-F]{16}$")
            return metadata["HTTPStatusCode"], error.response["Error"]["Code"]
        raise AssertionError(f"{operation} {parameters} succeeded")

    def upload(self, key: str, parts: list[bytes], bucket: str = "photos", **more: Any) -> Any:
        """Store an object in parts, and note it; returns what Complete answered."""
        place = {"Bucket": bucket, "Key": key}
        place["UploadId"] = self.client.create_multipart_upload(**place, **more)["UploadId"]
        done = [
            {
                "PartNumber": number,
                "ETag": self.client.upload_part(**place, PartNumber=number, Body=part)["ETag"],
            }
            for number, part in enumerate(parts, 1)
        ]
        reply = self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": done})
        self.wrote(bucket, key, b"".join(parts))
        return reply


def virtual_hosts(resolve: Any = socket.getaddrinfo) -> Any:
    """Return a resolver that knows the names below our domain, as an operator's DNS would."""

    def getaddrinfo(host: str, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(DOMAIN) else host, *arguments, **more)

    return getaddrinfo


def etag(data: bytes) -> str:
    """The ETag of an object that was stored in one piece."""
    return f'"{md5(data).hexdigest()}"'


def etag_of_parts(parts: list[bytes]) -> str:
    """The ETag of an object that was stored in parts."""
    return f'"{md5(b"".join(md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def encoded(digest: bytes) -> str:
    """A digest as headers have it."""
    return base64.b64encode(digest).decode()


def parts_of(seed: str, count: int, last: int = 1000) -> list[bytes]:
    """Parts as small as they may be; the last one is smaller still."""
    return [content(f"{seed} {number}", PART) for number in range(1, count)] + [content(seed, last)]
