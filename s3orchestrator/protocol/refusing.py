"""
Request headers that ask for something we cannot do, and must therefore not ignore.

A lock, an encryption key or a grant that is silently dropped is a promise broken; the
client hears 501 instead. The web layer asks once per request, after `identify`.
"""

from __future__ import annotations

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error, invalid_argument, not_implemented
from s3orchestrator.protocol.operations import Operation, Right

_CANNED_ACLS = frozenset(
    {
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
        "log-delivery-write",
    }
)
_ACLS_THAT_GRANT_NOTHING = frozenset({"private", "bucket-owner-full-control"})
_OWNERSHIPS = frozenset({"BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"})

_FAMILIES = (
    b"x-amz-server-side-encryption-",  # SSE-C, and the particulars of KMS
    b"x-amz-copy-source-server-side-encryption-",
    b"x-amz-grant-",
    b"x-amz-object-lock-",
)
# Express buckets and the like: each changes what the operation does.
_SINGLE = frozenset(
    {
        b"x-amz-if-match-last-modified-time",
        b"x-amz-if-match-size",
        b"x-amz-rename-source",
        b"x-amz-website-redirect-location",
        b"x-amz-write-offset-bytes",
    }
)
# Conditions we know for reads only. If-None-Match on a delete would be one too.
_READ_CONDITIONS = (b"if-modified-since", b"if-unmodified-since")
_CONDITIONAL_WRITES = frozenset(
    {
        Operation.PUT_OBJECT,
        Operation.COPY_OBJECT,
        Operation.COMPLETE_MULTIPART_UPLOAD,
        Operation.DELETE_OBJECT,
    }
)


def refuse_unsupported(call: Call, operation: Operation) -> None:
    """
    Refuse a request whose headers ask for more than `operation` can give.

    :raises S3Error: mostly `NotImplemented` with the header's name.
    """
    for name in call.names_below(b"x-amz-"):
        if name in _SINGLE or name.startswith(_FAMILIES):
            raise not_implemented(name.decode("latin-1"))
    if operation.right in (Right.WRITE, Right.CREATE_BUCKET):
        _check_acl(call)
        _check_encryption(call)
        _check_tags(call)
    if operation is Operation.CREATE_BUCKET:
        _check_new_bucket(call)
    if operation in _CONDITIONAL_WRITES:
        _check_conditions(call, operation)


def _check_acl(call: Call) -> None:
    acl = call.header(b"x-amz-acl")
    if not acl or acl in _ACLS_THAT_GRANT_NOTHING:
        return
    if acl in _CANNED_ACLS:
        raise S3Error("AccessControlListNotSupported")
    raise invalid_argument("x-amz-acl", acl)


def _check_encryption(call: Call) -> None:
    asked = call.header(b"x-amz-server-side-encryption")
    if asked is None:
        return
    if asked in ("AES256", "aws:kms", "aws:kms:dsse", "aws:fsx"):
        raise not_implemented("x-amz-server-side-encryption")
    raise S3Error("InvalidEncryptionAlgorithmError")


def _check_tags(call: Call) -> None:
    if call.header(b"x-amz-tagging"):  # an empty set of tags is what every object has
        raise not_implemented("x-amz-tagging")


def _check_new_bucket(call: Call) -> None:
    lock = (call.header(b"x-amz-bucket-object-lock-enabled") or "false").lower()
    if lock == "true":
        raise not_implemented("x-amz-bucket-object-lock-enabled")
    if lock != "false":
        raise invalid_argument("x-amz-bucket-object-lock-enabled", lock)
    ownership = call.header(b"x-amz-object-ownership") or "BucketOwnerEnforced"
    if ownership not in _OWNERSHIPS:
        raise invalid_argument("x-amz-object-ownership", ownership)
    if ownership != "BucketOwnerEnforced":
        raise not_implemented("x-amz-object-ownership")


def _check_conditions(call: Call, operation: Operation) -> None:
    for name in _READ_CONDITIONS:
        if name in call.headers:
            raise not_implemented(name.decode())
    if operation is Operation.DELETE_OBJECT and b"if-none-match" in call.headers:
        raise not_implemented("if-none-match")
