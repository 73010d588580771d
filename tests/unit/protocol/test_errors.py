"""Tests for the error table and for what our own failures become."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator import errors
from s3orchestrator.protocol.errors import ERRORS, RateLimited, S3Error, SlowDown, as_s3_error

# Failure inside -> code, status, details.
TRANSLATIONS: list[tuple[Exception, str, int, dict[str, Any]]] = [
    (errors.NoSuchBucket("x"), "NoSuchBucket", 404, {"BucketName": "b"}),
    (errors.BucketExists("b", owned=True), "BucketAlreadyOwnedByYou", 409, {"BucketName": "b"}),
    (errors.BucketExists("b", owned=False), "BucketAlreadyExists", 409, {"BucketName": "b"}),
    (errors.BucketNotEmpty("b"), "BucketNotEmpty", 409, {"BucketName": "b"}),
    (errors.NoSuchKey("?"), "NoSuchKey", 404, {"Key": "k"}),
    (errors.NotSeen("?"), "NoSuchKey", 404, {"Key": "k"}),
    (errors.NoSuchVersion("?"), "NoSuchVersion", 404, {"Key": "k", "VersionId": "v"}),
    (errors.NoSuchUpload("?"), "NoSuchUpload", 404, {"UploadId": "u"}),
    (errors.InvalidPart(3, "e"), "InvalidPart", 400, {"UploadId": "u", "PartNumber": 3, "ETag": "e"}),
    (
        errors.PartTooSmall(2, 5, "e"),
        "EntityTooSmall",
        400,
        {"ProposedSize": 5, "MinSizeAllowed": 5242880, "PartNumber": 2, "ETag": "e"},
    ),
    (errors.Conflict("k"), "OperationAborted", 409, {}),
    (errors.PreconditionFailed("If-Match"), "PreconditionFailed", 412, {"Condition": "If-Match"}),
    (errors.InsufficientStorage(1), "InsufficientStorage", 507, {}),
    (errors.TooManyUploads("b"), "SlowDown", 503, {}),
    (errors.BackendError("oci: secret"), "ServiceUnavailable", 503, {}),
    (errors.BackendUnavailable("oci: refused"), "ServiceUnavailable", 503, {}),
    (errors.BackendRefused("oci: no", status=403), "ServiceUnavailable", 503, {}),
    (errors.BlobChanged("oci: other"), "ServiceUnavailable", 503, {}),
    (errors.UsageLimitExceeded("oci: used up", writing=True), "InsufficientStorage", 507, {}),
    (errors.UsageLimitExceeded("oci: used up", writing=False), "SlowDown", 429, {}),
    (errors.IntegrityError("k"), "ServiceUnavailable", 503, {}),
    (errors.StoreUnavailable("db"), "ServiceUnavailable", 503, {}),
    (errors.TransactionUnclear("db"), "ServiceUnavailable", 503, {}),
    (errors.BodyAborted("k"), "IncompleteBody", 400, {}),
    (errors.BodyStalled("k"), "RequestTimeout", 400, {}),
]

BEFORE_ANY_REQUEST = (
    errors.OrchestratorError,
    errors.LedgerInUse,
    errors.LedgerMisplaced,
    errors.LedgerTooNew,
    errors.LedgerIncomplete,
    errors.LedgerNotEmpty,
    errors.LedgersDiffer,
)


class AsS3ErrorTests(SynchronousTestCase):
    """What a client is told about a failure of ours."""

    def test_translations(self) -> None:
        """
        Each failure with a name has its code, status and details.
        """
        for failure, code, status, details in TRANSLATIONS:
            with self.subTest(failure=failure):
                told = as_s3_error(failure, bucket="b", key="k", version_id="v", upload_id="u")
                self.assertEqual((told.code, told.status, told.details), (code, status, details))

    def test_every_failure_has_an_answer(self) -> None:
        """
        No class of `errors` but those no request can meet is answered with 500.
        """
        translated = {type(failure) for failure, *_ in TRANSLATIONS}
        for kind in vars(errors).values():
            if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError):
                known = kind in translated or issubclass(kind, errors.BackendError)
                self.assertTrue(known or kind in BEFORE_ANY_REQUEST, kind)

    def test_an_answer_stays_what_it_is(self) -> None:
        """
        An error that already is an answer is passed on.
        """
        error = S3Error("BadDigest")
        self.assertIs(as_s3_error(error), error)

    @given(st.text())
    def test_unknown_failures_tell_nothing(self, secret: str) -> None:
        """
        What is not known by name is an internal error without a word of its text.
        """
        told = as_s3_error(RuntimeError(secret), key="k")
        self.assertEqual((told.code, told.status, told.details), ("InternalError", 500, {}))
        self.assertEqual(told.text, "We encountered an internal error. Please try again.")

    def test_retried_errors_say_when(self) -> None:
        """
        Answers that clients repeat carry `Retry-After`.
        """
        for failure in (errors.BackendUnavailable("x"), errors.StoreUnavailable("x")):
            self.assertEqual(as_s3_error(failure).headers["Retry-After"], "1")
        self.assertEqual(SlowDown(retry_after=5).headers["Retry-After"], "5")


class TableTests(SynchronousTestCase):
    """The table of codes."""

    def test_codes_are_words_with_messages(self) -> None:
        """
        Each row is a code, an HTTP status that is no success, and something to read.
        """
        for code, (status, message) in ERRORS.items():
            self.assertTrue(re.fullmatch(r"[A-Z][A-Za-z0-9]+", code))
            self.assertIn(status, range(300, 600))
            self.assertTrue(message)

    def test_a_code_that_nobody_knows_is_ours(self) -> None:
        """
        A mistyped code answers 500 rather than failing while it is answered.
        """
        self.assertEqual((S3Error("Typo").status, S3Error("Typo").text), (500, "Typo"))

    def test_one_code_two_statuses(self) -> None:
        """
        `SlowDown` is 503 from a full server and 429 to a client that asks too often.
        """
        self.assertEqual((SlowDown().code, SlowDown().status), ("SlowDown", 503))
        self.assertEqual((RateLimited().code, RateLimited().status), ("SlowDown", 429))

    def test_own_words_win(self) -> None:
        """
        A message of our own replaces the table's.
        """
        self.assertEqual(S3Error("AccessDenied", "Request has expired").text, "Request has expired")
        self.assertEqual(str(S3Error("AccessDenied")), "AccessDenied: Access Denied")
