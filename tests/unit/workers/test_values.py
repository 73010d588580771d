"""Tests for what processes of ours may say to each other."""

from __future__ import annotations

import os
import pickle
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator import errors
from s3orchestrator.domain.records import (
    Blob,
    BlobState,
    Bucket,
    Committed,
    Completion,
    NewVersion,
    Part,
    PartInfo,
    Removed,
    Upload,
    UploadState,
    Version,
)
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.errors import RateLimited, S3Error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.partlist import read_parts, write_parts
from s3orchestrator.workers.values import ERRORS, dumps, loads

CHECKSUM = Checksum("crc32", "AAAAAA==")
METADATA = ObjectMetadata("text/plain", {"Expires": "never"}, {"colour": "gr\xfcn"})
BLOB = Blob(1, "a", "photos/k", BlobState.PENDING, 10, 1_700_000_000_000, 3, "k", upload_id="u")
PARTS = (PartInfo(1, 5, CHECKSUM), PartInfo(2, 5))
VERSION = Version(1, 3, "k", "null", True, False, 10, "e", 7, METADATA, CHECKSUM, PARTS, "00", (BLOB,))
UPLOAD = Upload("u", 3, "k", UploadState.OPEN, BLOB, METADATA, 7)
PART = Part("u", 1, 2, 5, checksum=CHECKSUM)

VALUES = (
    None,
    b"\x00",
    {("a", "2026-11"): Counters(1, 2, 3)},
    Bucket(3, "photos", 7, "ann"),
    Stored("e", "v"),
    NewVersion(10, "e", METADATA, CHECKSUM, PARTS),
    Committed(VERSION, (BLOB,)),
    Removed("k", "null", doomed=(BLOB,)),
    Completion(UPLOAD, (PART,), 5, VERSION),
    WriteCondition(if_none_match=("*",)),
)


class Evil:
    """Does what it is told when it is read."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.how = call, args

    def __reduce__(self) -> Any:
        return self.how


def setting(kind: str, **state: object) -> bytes:
    """What would set attributes of something that is named, rather than of a value."""
    module, name = kind.rsplit(".", 1)
    return b"\x80\x02c%s\n%s\n" % (module.encode(), name.encode()) + _pushed((None, state)) + b"b."


def _pushed(value: object) -> bytes:
    """What puts a value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


class ValuesTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """
        What is said is what is heard.
        """
        for value in VALUES:
            self.assertEqual(loads(dumps(value)), value)

    def test_states(self) -> None:
        """
        States are compared by identity.
        """
        self.assertIs(loads(dumps(BLOB)).state, BlobState.PENDING)

    def test_stored_parts(self) -> None:
        """
        Parts as the ledger holds them arrive as a tuple of what they are.
        """
        version = evolve(VERSION, parts=read_parts(write_parts(PARTS)))
        self.assertEqual(loads(dumps(version)).parts, PARTS)

    def test_errors(self) -> None:
        """
        Each error of ours arrives as what it was, with all it says.
        """
        for kind in ERRORS:
            error = kind.__new__(kind)
            error.args, error.__dict__["note"] = ("photos",), 1
            told = loads(dumps(error))
            self.assertIs(type(told), kind)
            self.assertEqual((told.args, told.__dict__), (("photos",), {"note": 1}))

    def test_errors_that_need_arguments(self) -> None:
        """
        Also one that cannot be made from its text alone.
        """
        exists = loads(dumps(errors.BucketExists("photos", owned=True)))
        self.assertEqual((str(exists), exists.owned), ("photos", True))
        refused = loads(dumps(errors.BackendRefused("a: no", status=403, code="Denied")))
        self.assertEqual((str(refused), refused.status, refused.sent), ("a: no", 403, True))
        self.assertEqual(str(loads(dumps(S3Error("SlowDown", "wait")))), "SlowDown: wait")
        self.assertEqual(loads(dumps(RateLimited("wait", retry_after=7))).headers, {"Retry-After": "7"})

    def refused(self, data: bytes) -> None:
        try:
            made = loads(data)
        except Exception:
            return
        self.fail(f"made {made!r}")

    def test_nothing_is_called(self) -> None:
        """
        Nothing can be named that is not one of the values.
        """
        path = self.mktemp()
        for evil in (
            Evil(os.mkdir, path),
            Evil(eval, f"__import__('os').mkdir({path!r})"),
            Evil(getattr, BLOB, "state"),
            Evil(pickle.loads, b"."),
            Evil(ObjectMetadata.from_json, "{}"),
            Evil(errors.__dict__["annotations"].__class__, 0, 0, 0),
        ):
            self.refused(pickle.dumps(evil, 5))
        self.refused(b"\x80\x02cs3orchestrator.domain.records\nBlob.__init__.__globals__\n.")
        self.refused(b"\x80\x04\x8c\x1ds3orchestrator.domain.records\x8c\x09PartInfo.\x93.")
        self.assertFalse(os.path.exists(path))

    def test_nothing_is_changed(self) -> None:
        """
        What stands for a class takes no attributes.
        """
        records = "s3orchestrator.domain.records"
        for data in (
            setting(f"{records}.Blob", size=0),
            setting(f"{records}.BlobState", PENDING=0, _member_map_={}),
            setting("s3orchestrator.errors.Conflict", sent=False),
            setting("s3orchestrator.errors.Conflict", _kind=None),
        ):
            self.refused(data)
        self.assertEqual(loads(dumps(BLOB)), BLOB)
        self.assertIs(type(loads(dumps(errors.Conflict("k")))), errors.Conflict)

    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """
        Damage makes another value of the same kinds, or none; it ends nothing and takes no time.
        """
        written = bytearray(dumps(data.draw(st.sampled_from(VALUES))))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(written) - 1))
            # Other opcodes ask for as much memory as four bytes can say.
            written[at] = data.draw(st.integers(0, 0x5F))
        try:
            loads(bytes(written))
        except Exception:
            return
