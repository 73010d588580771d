"""
The S3 error: a code, what S3 says to it, and the details that belong to the code.

Two tables live here, code -> (status, message) and failure inside -> code. `as_s3_error`
is the only place where one of our own failures becomes an answer.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from s3orchestrator import errors

MIN_PART_SIZE = 5 * 1024 * 1024  # S3's own: every part but the last

# s3-compatible clients look at code and status; people search for the words.
ERRORS: dict[str, tuple[int, str]] = {
    "AccessControlListNotSupported": (400, "The bucket does not allow ACLs"),
    "AccessDenied": (403, "Access Denied"),
    "AccessForbidden": (403, "CORSResponse: CORS is not enabled for this bucket."),
    "AuthorizationHeaderMalformed": (400, "The authorization header that you provided is not valid."),
    "AuthorizationQueryParametersError": (400, "Error parsing the X-Amz-Credential parameter."),
    "BadDigest": (400, "The Content-MD5 or checksum value you specified did not match what was received."),
    "BadRequest": (400, "Bad Request"),
    "BucketAlreadyExists": (
        409,
        "The requested bucket name is not available. The bucket namespace is shared by all users of the"
        " system. Please select a different name and try again.",
    ),
    "BucketAlreadyOwnedByYou": (
        409,
        "Your previous request to create the named bucket succeeded and you already own it.",
    ),
    "BucketNotEmpty": (409, "The bucket you tried to delete is not empty"),
    "ConditionalRequestConflict": (
        409,
        "The conditional request cannot succeed due to a conflicting operation against this resource.",
    ),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size"),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "ExpiredToken": (400, "The provided token has expired."),
    "IllegalLocationConstraintException": (
        400,
        "The location constraint is incompatible for the region specific endpoint this request was sent to.",
    ),
    "IllegalVersioningConfigurationException": (
        400,
        "The versioning configuration specified in the request is invalid.",
    ),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    ),
    # Retried by no SDK, unlike other codes of the 500 family: that is wanted.
    "InsufficientStorage": (507, "There is no room left on any backend that may hold this object."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidBucketState": (409, "The request is not valid with the current state of the bucket."),
    "InvalidChunkSizeError": (400, "Only the last chunk is allowed to have a size less than 8192 bytes"),
    "InvalidDigest": (400, "The Content-MD5 you specified was invalid."),
    "InvalidEncryptionAlgorithmError": (
        400,
        "The encryption request you specified is not valid. The valid value is AES256.",
    ),
    "InvalidLocationConstraint": (400, "The specified location-constraint is not valid"),
    "InvalidObjectState": (403, "The operation is not valid for the current state of the object."),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the"
        " specified entity tag may not match the part's entity tag.",
    ),
    "InvalidPartNumber": (416, "The requested partnumber is not satisfiable"),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
    ),
    "InvalidPolicyDocument": (400, "The content of the form does not meet the conditions of the policy."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidStorageClass": (400, "The storage class you specified is not valid"),
    "InvalidTag": (400, "The tag provided was not a valid tag."),
    "InvalidToken": (400, "The provided token is malformed or otherwise not valid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedACLError": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MalformedPOSTRequest": (
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    ),
    "MalformedPolicy": (400, "Policy is not in the valid JSON format"),
    "MalformedTrailerError": (400, "The request contained trailing data that was not well-formed."),
    "MalformedXML": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MaxMessageLengthExceeded": (400, "Your request was too big."),
    "MetadataTooLarge": (400, "Your metadata headers exceed the maximum allowed metadata size"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingRequestBodyError": (400, "Request Body is empty"),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchObjectLockConfiguration": (404, "The specified object does not have a ObjectLock configuration"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been"
        " aborted or completed.",
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (501, "A header or query you provided implies functionality that is not implemented"),
    "NotModified": (304, "Not Modified"),
    "ObjectLockConfigurationNotFoundError": (
        404,
        "Object Lock configuration does not exist for this bucket",
    ),
    "OperationAborted": (
        409,
        "A conflicting conditional operation is currently in progress against this resource."
        " Please try again.",
    ),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PermanentRedirect": (
        301,
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
    ),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "QuotaExceeded": (403, "The quota of this bucket or user is used up."),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestHeaderSectionTooLarge": (
        400,
        "Your request header section exceeds the maximum allowed request header section size.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the current time is too large.",
    ),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": (
        404,
        "The server side encryption configuration was not found",
    ),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and"
        " signing method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "TemporaryRedirect": (
        307,
        "Please re-send this request to the specified temporary endpoint.",
    ),
    "TooManyBuckets": (400, "You have attempted to create more buckets than allowed"),
    "UnexpectedContent": (400, "This request does not support content"),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}


# Of an answer that was given without the ledger: what was written or deleted last may be missing from it.
DEGRADED = "x-s3o-degraded"


class S3Error(Exception):
    """
    An answer to a client that is not a success.

    `details` become elements of the error document, in order. They are shown to the
    client: nothing secret, and nothing the client may not know. `headers` go out with the
    answer. A code that is not in the table is a mistake of ours and answers 500.
    """

    def __init__(self, code: str, message: str | None = None, **details: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.details = details
        self.headers: dict[str, str] = {}

    @property
    def status(self) -> int:
        """The HTTP status that goes with the code."""
        return ERRORS.get(self.code, (500, ""))[0]

    @property
    def text(self) -> str:
        """What the client reads: our own words if there are some, else S3's. Never empty."""
        return self.message or ERRORS.get(self.code, (500, ""))[1] or self.code

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class RateLimited(S3Error):
    """One client asks too often. S3's code for it is 503's; 429 tells it from an overloaded server."""

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__("SlowDown", message)
        self.headers["Retry-After"] = str(retry_after)

    @property
    def status(self) -> int:
        """Not the table's: 429 Too Many Requests."""
        return 429


class SlowDown(S3Error):
    """The 503 of a server that has no slot left; every SDK backs off on it."""

    def __init__(self, message: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__("SlowDown", message)
        self.headers["Retry-After"] = str(retry_after)


def invalid_argument(name: str, value: str, message: str | None = None) -> S3Error:
    """Return the error for one parameter or header that makes no sense."""
    return S3Error("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)


def not_implemented(header: str | None = None) -> S3Error:
    """Return the 501 that keeps something we cannot do from looking done."""
    return S3Error("NotImplemented") if header is None else S3Error("NotImplemented", Header=header)


@frozen
class Subject:
    """What a request was about, for the details of its error."""

    bucket: str = ""
    key: str = ""
    version_id: str = ""
    upload_id: str = ""


def as_s3_error(
    exception: BaseException, *, bucket: str = "", key: str = "", version_id: str = "", upload_id: str = ""
) -> S3Error:
    """
    Return what the client is told about `exception`.

    What is not known by name is an `InternalError` without any detail; whoever catches it
    logs the original.
    """
    if isinstance(exception, S3Error):
        return exception
    subject = Subject(bucket, key, version_id, upload_id)
    for kind in type(exception).__mro__:
        translate = _TRANSLATIONS.get(kind)
        if translate is not None:
            return translate(exception, subject)
    return S3Error("InternalError")


def _no_such_bucket(_: errors.NoSuchBucket, subject: Subject) -> S3Error:
    return S3Error("NoSuchBucket", BucketName=subject.bucket)


def _bucket_exists(error: errors.BucketExists, subject: Subject) -> S3Error:
    code = "BucketAlreadyOwnedByYou" if error.owned else "BucketAlreadyExists"
    return S3Error(code, BucketName=subject.bucket)


def _bucket_not_empty(_: errors.BucketNotEmpty, subject: Subject) -> S3Error:
    return S3Error("BucketNotEmpty", BucketName=subject.bucket)


def _no_such_key(_: errors.NoSuchKey, subject: Subject) -> S3Error:
    return S3Error("NoSuchKey", Key=subject.key)


def _not_seen(_: errors.NotSeen, subject: Subject) -> S3Error:
    error = S3Error("NoSuchKey", Key=subject.key)
    error.headers[DEGRADED] = "true"
    return error


def _no_such_version(_: errors.NoSuchVersion, subject: Subject) -> S3Error:
    return S3Error("NoSuchVersion", Key=subject.key, VersionId=subject.version_id)


def _no_such_upload(_: errors.NoSuchUpload, subject: Subject) -> S3Error:
    return S3Error("NoSuchUpload", UploadId=subject.upload_id)


def _invalid_part(error: errors.InvalidPart, subject: Subject) -> S3Error:
    return S3Error("InvalidPart", UploadId=subject.upload_id, PartNumber=error.number, ETag=error.etag)


def _part_too_small(error: errors.PartTooSmall, _: Subject) -> S3Error:
    return S3Error(
        "EntityTooSmall",
        ProposedSize=error.size,
        MinSizeAllowed=MIN_PART_SIZE,
        PartNumber=error.number,
        ETag=error.etag,
    )


def _conflict(_: errors.Conflict, _subject: Subject) -> S3Error:
    return S3Error("OperationAborted")


def _precondition_failed(error: errors.PreconditionFailed, _: Subject) -> S3Error:
    return S3Error("PreconditionFailed", Condition=str(error.args[0]) if error.args else "")


def _insufficient_storage(_: errors.InsufficientStorage, _subject: Subject) -> S3Error:
    return S3Error("InsufficientStorage")


def _too_many_uploads(_: errors.TooManyUploads, _subject: Subject) -> S3Error:
    return SlowDown("The bucket has as many multipart uploads open as it may have.")


def _unavailable(_: Exception, _subject: Subject) -> S3Error:
    error = S3Error("ServiceUnavailable")
    error.headers["Retry-After"] = "1"
    return error


def _usage_limit_exceeded(error: errors.UsageLimitExceeded, _subject: Subject) -> S3Error:
    if error.writing:
        return S3Error("InsufficientStorage")
    # The limit is a month's, but an operator may raise it at any time.
    return RateLimited("The usage limit of each backend that has the object is reached.", retry_after=60)


def _incomplete_body(_: errors.BodyAborted, _subject: Subject) -> S3Error:
    return S3Error("IncompleteBody")


def _too_slow(_: errors.BodyStalled, _subject: Subject) -> S3Error:
    return S3Error("RequestTimeout")


_TRANSLATIONS: dict[type, Callable[..., S3Error]] = {
    errors.NoSuchBucket: _no_such_bucket,
    errors.BucketExists: _bucket_exists,
    errors.BucketNotEmpty: _bucket_not_empty,
    errors.NoSuchKey: _no_such_key,
    errors.NotSeen: _not_seen,
    errors.NoSuchVersion: _no_such_version,
    errors.NoSuchUpload: _no_such_upload,
    errors.InvalidPart: _invalid_part,
    errors.PartTooSmall: _part_too_small,
    errors.Conflict: _conflict,
    errors.PreconditionFailed: _precondition_failed,
    errors.InsufficientStorage: _insufficient_storage,
    errors.TooManyUploads: _too_many_uploads,
    errors.BackendError: _unavailable,
    errors.UsageLimitExceeded: _usage_limit_exceeded,
    # No copy is left that is what the ledger says: the version exists, so 404 would be a lie.
    errors.IntegrityError: _unavailable,
    errors.StoreUnavailable: _unavailable,
    errors.BodyAborted: _incomplete_body,
    errors.BodyStalled: _too_slow,
}
