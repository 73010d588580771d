"""The documents that answer everything but listings (those are in `listdocuments`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.encoding import xml_time
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.listqueries import AttributesQuery
from s3orchestrator.protocol.xml import DECLARATION, NAMESPACE, escape

CONTENT_TYPE = "application/xml"


@frozen
class Owner:
    """Who owns buckets and objects, as documents show it."""

    id: str
    name: str

    def element(self, tag: str = "Owner") -> str:
        """Return this owner as the element `tag`."""
        return f"<{tag}>{self._children}</{tag}>"

    @property
    def _children(self) -> str:
        return f"<ID>{escape(self.id)}</ID><DisplayName>{escape(self.name)}</DisplayName>"


def document(root: str, content: str = "") -> bytes:
    """Return a whole document in S3's namespace."""
    if not content:
        return f'{DECLARATION}<{root} xmlns="{NAMESPACE}"/>'.encode()
    return f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode()


def checksum_elements(checksum: Checksum | None) -> str:
    """Return a checksum's value and type as elements, nothing for None."""
    if checksum is None:
        return ""
    tag = checksum.element
    return f"<{tag}>{escape(checksum.value)}</{tag}><ChecksumType>{checksum.kind}</ChecksumType>"


def error_document(error: S3Error, *, request_id: str, host_id: str = "", resource: str = "") -> bytes:
    """
    Return the document for `error`; unlike all others it has no namespace.

    `resource` is the undecoded path.
    """
    details = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in error.details.items())
    if resource:
        details += f"<Resource>{escape(resource)}</Resource>"
    return (
        f"{DECLARATION}<Error><Code>{escape(error.code)}</Code><Message>{escape(error.text)}</Message>{details}"
        f"<RequestId>{escape(request_id)}</RequestId><HostId>{escape(host_id)}</HostId></Error>"
    ).encode()


def location(region: str) -> bytes:
    """Answer GetBucketLocation; S3's first region has no name there."""
    return document("LocationConstraint", "" if region == "us-east-1" else escape(region))


def versioning() -> bytes:
    """Answer GetBucketVersioning for a bucket that never had versions."""
    return document("VersioningConfiguration")


def acl(owner: Owner) -> bytes:
    """Answer GetBucketAcl and GetObjectAcl: the owner may do everything, and nobody else is named."""
    grantee = owner.element("Grantee").replace(
        "<Grantee>",
        '<Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">',
        1,
    )
    return document(
        "AccessControlPolicy",
        f"{owner.element()}<AccessControlList><Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
        "</AccessControlList>",
    )


def tagging() -> bytes:
    """Answer GetObjectTagging for an object without tags."""
    return document("Tagging", "<TagSet/>")


_EMPTY_CONFIGURATIONS = {
    "accelerate": document("AccelerateConfiguration"),
    "logging": document("BucketLoggingStatus"),
    "notification": document("NotificationConfiguration"),
    "requestPayment": document("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
}
_MISSING_CONFIGURATIONS = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "policyStatus": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}


def unconfigured(subresource: str, bucket: str) -> bytes:
    """
    Answer the GET of a bucket's configuration that nobody has made.

    :raises S3Error: the code that says so, where S3 answers 404.
    """
    found = _EMPTY_CONFIGURATIONS.get(subresource)
    if found is None:
        raise S3Error(_MISSING_CONFIGURATIONS[subresource], BucketName=bucket)
    return found


def copy_result(etag: str, modified_ms: int, checksum: Checksum | None = None) -> bytes:
    """Answer CopyObject."""
    return document("CopyObjectResult", _copied(etag, modified_ms, checksum))


def copy_part_result(etag: str, modified_ms: int, checksum: Checksum | None = None) -> bytes:
    """Answer UploadPartCopy."""
    return document("CopyPartResult", _copied(etag, modified_ms, checksum))


def _copied(etag: str, modified_ms: int, checksum: Checksum | None) -> str:
    return (
        f"<LastModified>{xml_time(modified_ms)}</LastModified><ETag>&quot;{escape(etag)}&quot;</ETag>"
        f"{checksum_elements(checksum)}"
    )


def upload_created(bucket: str, key: str, upload_id: str) -> bytes:
    """Answer CreateMultipartUpload."""
    return document(
        "InitiateMultipartUploadResult",
        f"<Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key><UploadId>{escape(upload_id)}</UploadId>",
    )


def upload_completed(
    bucket: str, key: str, etag: str, *, location: str, checksum: Checksum | None = None
) -> bytes:
    """Answer CompleteMultipartUpload; `location` is the object's URL, in the style the client uses."""
    return document(
        "CompleteMultipartUploadResult",
        f"<Location>{escape(location)}</Location><Bucket>{escape(bucket)}</Bucket><Key>{escape(key)}</Key>"
        f"<ETag>&quot;{escape(etag)}&quot;</ETag>{checksum_elements(checksum)}",
    )


@frozen
class Deletion:
    """
    What became of one entry of a DeleteObjects.

    `version_id` is the one that was asked for. `error` is None if the entry is gone, or
    was never there.
    """

    key: str
    version_id: str | None = None
    error: S3Error | None = None


def delete_result(deletions: Iterable[Deletion], *, quiet: bool = False) -> bytes:
    """Answer DeleteObjects, in the order of the request; `quiet` leaves out what went well."""
    entries = (_deletion(deletion) for deletion in deletions if deletion.error is not None or not quiet)
    return document("DeleteResult", "".join(entries))


def _deletion(deletion: Deletion) -> str:
    version = "" if deletion.version_id is None else f"<VersionId>{escape(deletion.version_id)}</VersionId>"
    named = f"<Key>{escape(deletion.key)}</Key>{version}"
    if deletion.error is None:
        return f"<Deleted>{named}</Deleted>"
    return (
        f"<Error>{named}<Code>{escape(deletion.error.code)}</Code>"
        f"<Message>{escape(deletion.error.text)}</Message></Error>"
    )


class PartRow(Protocol):
    """A part of a finished object."""

    @property
    def number(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def checksum(self) -> Checksum | None: ...


class ObjectRow(Protocol):
    """An object as GetObjectAttributes tells about it."""

    @property
    def etag(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def checksum(self) -> Checksum | None: ...

    @property
    def parts(self) -> Sequence[PartRow]: ...


def attributes(query: AttributesQuery, found: ObjectRow, storage_class: str = "STANDARD") -> bytes:
    """Answer GetObjectAttributes with what was asked for; the ETag has no quotes here."""
    wanted = query.wanted
    content = ""
    if "ETag" in wanted:
        content += f"<ETag>{escape(found.etag)}</ETag>"
    if "Checksum" in wanted and found.checksum is not None:
        content += f"<Checksum>{checksum_elements(found.checksum)}</Checksum>"
    if "ObjectParts" in wanted and found.parts:
        content += _object_parts(query, found.parts)
    if "StorageClass" in wanted:
        content += f"<StorageClass>{escape(storage_class)}</StorageClass>"
    if "ObjectSize" in wanted:
        content += f"<ObjectSize>{found.size}</ObjectSize>"
    return document("GetObjectAttributesResponse", content)


def _object_parts(query: AttributesQuery, parts: Sequence[PartRow]) -> str:
    """Return the parts; their particulars only if they have checksums, as S3 does it."""
    count = f"<PartsCount>{len(parts)}</PartsCount>"
    if any(part.checksum is None for part in parts):
        return f"<ObjectParts>{count}</ObjectParts>"
    after = [part for part in parts if part.number > query.part_marker]
    page = after[: query.max_parts]
    following = page[-1].number if page else query.part_marker
    return (
        f"<ObjectParts>{count}<PartNumberMarker>{query.part_marker}</PartNumberMarker>"
        f"<NextPartNumberMarker>{following}</NextPartNumberMarker><MaxParts>{query.max_parts}</MaxParts>"
        f"<IsTruncated>{'true' if len(after) > len(page) else 'false'}</IsTruncated>"
        f"{''.join(map(_object_part, page))}</ObjectParts>"
    )


def _object_part(part: PartRow) -> str:
    checksum = part.checksum
    value = "" if checksum is None else f"<{checksum.element}>{escape(checksum.value)}</{checksum.element}>"
    return f"<Part><PartNumber>{part.number}</PartNumber><Size>{part.size}</Size>{value}</Part>"
