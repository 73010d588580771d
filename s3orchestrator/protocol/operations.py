"""
The one table from (method, level, query, header) to the operation a request asks for.

What is not in it is refused here, before anything is looked up: a subresource we do not
have must never be taken for the plain operation (a `PUT ?tagging` is not an upload).
"""

from __future__ import annotations

from enum import Enum, StrEnum

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error, invalid_argument, not_implemented


class Level(StrEnum):
    """What a request addresses; S3's words, which an error for a wrong method repeats."""

    SERVICE = "SERVICE"
    BUCKET = "BUCKET"
    OBJECT = "OBJECT"


class Right(StrEnum):
    """What a caller must be allowed to do on the bucket, or at all."""

    LIST_BUCKETS = "list_buckets"
    CREATE_BUCKET = "create_bucket"
    DELETE_BUCKET = "delete_bucket"
    READ = "read"
    WRITE = "write"
    DELETE = "delete"


class Operation(Enum):
    """
    An S3 operation: its name, what it addresses, the right it needs.

    `takes_object`: the request's body is an object's or a part's bytes. `takes_document`:
    it is a document to be read whole. `gives_object`: so is the answer's. `is_write`: it
    counts as a write when slots are given out.
    """

    LIST_BUCKETS = ("ListBuckets", Level.SERVICE, Right.LIST_BUCKETS)

    HEAD_BUCKET = ("HeadBucket", Level.BUCKET, Right.READ)
    CREATE_BUCKET = ("CreateBucket", Level.BUCKET, Right.CREATE_BUCKET, "document")
    DELETE_BUCKET = ("DeleteBucket", Level.BUCKET, Right.DELETE_BUCKET)
    GET_BUCKET_LOCATION = ("GetBucketLocation", Level.BUCKET, Right.READ)
    GET_BUCKET_VERSIONING = ("GetBucketVersioning", Level.BUCKET, Right.READ)
    GET_BUCKET_ACL = ("GetBucketAcl", Level.BUCKET, Right.READ)
    GET_BUCKET_SUBRESOURCE = ("GetBucketSubresource", Level.BUCKET, Right.READ)
    DELETE_BUCKET_SUBRESOURCE = ("DeleteBucketSubresource", Level.BUCKET, Right.DELETE)
    LIST_OBJECTS = ("ListObjects", Level.BUCKET, Right.READ)
    LIST_OBJECTS_V2 = ("ListObjectsV2", Level.BUCKET, Right.READ)
    LIST_OBJECT_VERSIONS = ("ListObjectVersions", Level.BUCKET, Right.READ)
    LIST_MULTIPART_UPLOADS = ("ListMultipartUploads", Level.BUCKET, Right.READ)
    DELETE_OBJECTS = ("DeleteObjects", Level.BUCKET, Right.DELETE, "document")

    GET_OBJECT = ("GetObject", Level.OBJECT, Right.READ, "gives")
    HEAD_OBJECT = ("HeadObject", Level.OBJECT, Right.READ)
    GET_OBJECT_ATTRIBUTES = ("GetObjectAttributes", Level.OBJECT, Right.READ)
    GET_OBJECT_ACL = ("GetObjectAcl", Level.OBJECT, Right.READ)
    GET_OBJECT_TAGGING = ("GetObjectTagging", Level.OBJECT, Right.READ)
    PUT_OBJECT = ("PutObject", Level.OBJECT, Right.WRITE, "object")
    COPY_OBJECT = ("CopyObject", Level.OBJECT, Right.WRITE)
    DELETE_OBJECT = ("DeleteObject", Level.OBJECT, Right.DELETE)
    CREATE_MULTIPART_UPLOAD = ("CreateMultipartUpload", Level.OBJECT, Right.WRITE)
    UPLOAD_PART = ("UploadPart", Level.OBJECT, Right.WRITE, "object")
    UPLOAD_PART_COPY = ("UploadPartCopy", Level.OBJECT, Right.WRITE)
    COMPLETE_MULTIPART_UPLOAD = ("CompleteMultipartUpload", Level.OBJECT, Right.WRITE, "document")
    ABORT_MULTIPART_UPLOAD = ("AbortMultipartUpload", Level.OBJECT, Right.WRITE)
    LIST_PARTS = ("ListParts", Level.OBJECT, Right.READ)

    def __init__(self, label: str, level: Level, right: Right, body: str = "") -> None:
        self.label = label
        self.level = level
        self.right = right
        self.takes_object = body == "object"
        self.takes_document = body == "document"
        self.gives_object = body == "gives"
        self.is_write = right not in (Right.READ, Right.LIST_BUCKETS)

    # Each is there once. Enum's own is Python, and tables are asked half a dozen times for a request.
    __hash__ = object.__hash__


# Names whose mere presence in the query makes it another operation.
SUBRESOURCES = frozenset(
    {
        "abac",
        "accelerate",
        "acl",
        "analytics",
        "append",
        "attributes",
        "cors",
        "delete",
        "encryption",
        "intelligent-tiering",
        "inventory",
        "legal-hold",
        "lifecycle",
        "location",
        "logging",
        "metadataConfiguration",
        "metadataInventoryTable",
        "metadataJournalTable",
        "metadataTable",
        "metrics",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "renameObject",
        "replication",
        "requestPayment",
        "restore",
        "retention",
        "select",
        "session",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versioning",
        "versions",
        "website",
    }
)

# Configurations of a bucket that have a "not configured" answer (documents.unconfigured has them).
UNCONFIGURED = frozenset(
    {
        "accelerate",
        "cors",
        "encryption",
        "lifecycle",
        "logging",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "policyStatus",
        "publicAccessBlock",
        "replication",
        "requestPayment",
        "tagging",
        "website",
    }
)

# Those of them that S3 knows a DELETE for: deleting what is not set succeeds.
_DELETABLE = frozenset(
    {
        "cors",
        "encryption",
        "lifecycle",
        "ownershipControls",
        "policy",
        "publicAccessBlock",
        "replication",
        "tagging",
        "website",
    }
)

_TABLE: dict[tuple[Level, bytes, str | None], Operation] = {
    (Level.SERVICE, b"GET", None): Operation.LIST_BUCKETS,
    (Level.BUCKET, b"HEAD", None): Operation.HEAD_BUCKET,
    (Level.BUCKET, b"PUT", None): Operation.CREATE_BUCKET,
    (Level.BUCKET, b"DELETE", None): Operation.DELETE_BUCKET,
    (Level.BUCKET, b"GET", None): Operation.LIST_OBJECTS,
    (Level.BUCKET, b"GET", "acl"): Operation.GET_BUCKET_ACL,
    (Level.BUCKET, b"GET", "location"): Operation.GET_BUCKET_LOCATION,
    (Level.BUCKET, b"GET", "versioning"): Operation.GET_BUCKET_VERSIONING,
    (Level.BUCKET, b"GET", "versions"): Operation.LIST_OBJECT_VERSIONS,
    (Level.BUCKET, b"GET", "uploads"): Operation.LIST_MULTIPART_UPLOADS,
    (Level.BUCKET, b"POST", "delete"): Operation.DELETE_OBJECTS,
    (Level.OBJECT, b"GET", None): Operation.GET_OBJECT,
    (Level.OBJECT, b"HEAD", None): Operation.HEAD_OBJECT,
    (Level.OBJECT, b"PUT", None): Operation.PUT_OBJECT,
    (Level.OBJECT, b"DELETE", None): Operation.DELETE_OBJECT,
    (Level.OBJECT, b"GET", "attributes"): Operation.GET_OBJECT_ATTRIBUTES,
    (Level.OBJECT, b"GET", "acl"): Operation.GET_OBJECT_ACL,
    (Level.OBJECT, b"GET", "tagging"): Operation.GET_OBJECT_TAGGING,
    (Level.OBJECT, b"POST", "uploads"): Operation.CREATE_MULTIPART_UPLOAD,
    (Level.OBJECT, b"PUT", "uploadId"): Operation.UPLOAD_PART,
    (Level.OBJECT, b"POST", "uploadId"): Operation.COMPLETE_MULTIPART_UPLOAD,
    (Level.OBJECT, b"DELETE", "uploadId"): Operation.ABORT_MULTIPART_UPLOAD,
    (Level.OBJECT, b"GET", "uploadId"): Operation.LIST_PARTS,
}
_TABLE |= {(Level.BUCKET, b"GET", name): Operation.GET_BUCKET_SUBRESOURCE for name in UNCONFIGURED}
_TABLE |= {(Level.BUCKET, b"DELETE", name): Operation.DELETE_BUCKET_SUBRESOURCE for name in _DELETABLE}

_ALLOWED = {
    Level.SERVICE: (b"GET",),
    Level.BUCKET: (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"),
    Level.OBJECT: (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"),
}

_COPIES = {
    Operation.PUT_OBJECT: Operation.COPY_OBJECT,
    Operation.UPLOAD_PART: Operation.UPLOAD_PART_COPY,
}


def level_of(call: Call) -> Level:
    """Return what `call` addresses; its bucket and key have been resolved."""
    if call.bucket is None:
        return Level.SERVICE
    return Level.BUCKET if call.key is None else Level.OBJECT


def subresource_of(call: Call) -> str | None:
    """
    Return the name in the query that picks the operation, None for a plain request.

    :raises S3Error: `InvalidRequest`, if there are two: whichever we took, it might be
        the harmless one of a pair that was meant otherwise.
    """
    if not call.query:
        return None
    found = [name for name in call.parameters if name in SUBRESOURCES]
    if len(found) > 1:
        raise S3Error("InvalidRequest", f"Conflicting query parameters: {', '.join(found)}")
    return found[0] if found else None


def identify(call: Call) -> Operation:
    """
    Return the operation that `call` asks for; its bucket and key have been resolved.

    :raises S3Error: `NotImplemented`, `MethodNotAllowed`, or what S3 says to requests that
        contradict themselves.
    """
    level = level_of(call)
    subresource = subresource_of(call)
    operation = _TABLE.get((level, call.method, subresource))
    if operation is None:
        raise _refusal(call, level, subresource)
    if operation is Operation.LIST_OBJECTS and call.query:
        return _list_objects(call)
    if operation in _COPIES:
        return _upload_or_copy(call, operation)
    return operation


def _list_objects(call: Call) -> Operation:
    kind = call.parameters.get("list-type")
    if kind is None:
        return Operation.LIST_OBJECTS
    if kind == "2":
        return Operation.LIST_OBJECTS_V2
    raise invalid_argument("list-type", kind, "Invalid List Type specified in Request")


def _upload_or_copy(call: Call, operation: Operation) -> Operation:
    if call.query and operation is Operation.PUT_OBJECT and "partNumber" in call.parameters:
        raise invalid_argument(
            "partNumber", call.parameters["partNumber"], "This operation does not accept partNumber"
        )
    is_copy = call.header(b"x-amz-copy-source") is not None
    copied_range = call.header(b"x-amz-copy-source-range")
    if copied_range is not None and not (is_copy and operation is Operation.UPLOAD_PART):
        raise invalid_argument("x-amz-copy-source-range", copied_range)
    if not is_copy:
        return operation
    return _COPIES[operation]


def _refusal(call: Call, level: Level, subresource: str | None) -> S3Error:
    """Return the error for a combination that is not in the table."""
    if call.method == b"OPTIONS" and level is not Level.SERVICE:
        return _refused_preflight(call)
    if call.method not in _ALLOWED[level]:
        return method_not_allowed(call.method, level, _ALLOWED[level])
    if level is Level.OBJECT and (call.method, subresource) == (b"GET", "uploads"):
        return S3Error("InvalidRequest", "Key is not expected for the GET method ?uploads subresource")
    if subresource is not None or level is Level.BUCKET:
        return not_implemented()  # a POST to a bucket is an upload by form
    others = tuple(method for method in _ALLOWED[level] if (level, method, None) in _TABLE)
    return method_not_allowed(call.method, level, others)


def method_not_allowed(method: bytes, level: Level, allowed: tuple[bytes, ...]) -> S3Error:
    """Return the 405 that names the methods which would have been right."""
    error = S3Error("MethodNotAllowed", Method=method.decode("latin-1"), ResourceType=level.value)
    error.headers["Allow"] = ", ".join(name.decode() for name in allowed)
    return error


def _refused_preflight(call: Call) -> S3Error:
    """Return what S3 says to a browser that asks about a bucket without CORS rules."""
    if call.header(b"origin") is None:
        return S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if call.header(b"access-control-request-method") is None:
        return S3Error("BadRequest", "Invalid Access-Control-Request-Method: null")
    return S3Error("AccessForbidden")
