"""Many clients at one key, one upload, one quota."""

from __future__ import annotations

import threading
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, MIB, Disks, at_once, digest, disks, refusal

MANY = 12


class RaceCase(SynchronousTestCase):
    """Each test uses keys of its own; at the end the directories hold what all of them have noted."""

    quota = 1 << 30
    deployment: Disks
    expected: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.deployment = disks(Path(mkdtemp(prefix="races-")), cls.quota)
        cls.deployment.daemon.start()
        cls.client = cls.deployment.client()
        cls.expected = {}

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            cls.deployment.settle()
            cls.deployment.daemon.stop()
            problems = cls.deployment.problems(cls.expected)
            assert problems == [], problems
        finally:
            cls.deployment.daemon.kill()
            rmtree(cls.deployment.directory)

    def put(self, key: str, data: bytes, **more: Any) -> str:
        """Return the code of the refusal, or ""."""
        return refusal(lambda: self.client.put_object(Bucket=BUCKET, Key=key, Body=data, **more))

    def get(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def note(self, key: str, data: bytes) -> None:
        """Say what a key has at the end of a test."""
        self.assertEqual(self.get(key), data)
        self.expected[f"{BUCKET}/{key}"] = digest(data)


class KeyTests(RaceCase):
    def test_first_writer_wins(self) -> None:
        """Of many who must be first, one is."""
        datas = [b"%d" % number * 1000 for number in range(MANY)]
        codes = at_once(lambda number: self.put("first", datas[number], IfNoneMatch="*"), MANY)
        self.assertEqual(codes.count(""), 1)
        self.assertEqual(set(codes), {"", "PreconditionFailed"})
        self.note("first", datas[codes.index("")])

    def test_counting(self) -> None:
        """Who replaces only what was read loses no update."""
        self.put("counted", b"0")

        def count(_: int) -> None:
            for _ in range(4):
                while True:
                    read = self.client.get_object(Bucket=BUCKET, Key="counted")
                    data = b"%d" % (int(read["Body"].read()) + 1)
                    if self.put("counted", data, IfMatch=read["ETag"]) == "":
                        break

        at_once(count, 5)
        self.note("counted", b"20")

    def test_readers_see_wholes(self) -> None:
        """A reader gets one version or another, never of both, however often it is replaced."""
        wholes = [bytes([65 + number]) * (2 * MIB + number) for number in range(4)]
        self.put("read", wholes[0])
        done = threading.Event()

        def read(number: int) -> set[bytes]:
            if number == 0:
                for _ in range(4):
                    for whole in wholes:
                        self.assertEqual(self.put("read", whole), "")
                done.set()
                return set()
            seen = set()
            while not done.is_set():
                seen.add(self.get("read"))
            return seen

        seen = set.union(*at_once(read, 4))
        self.assertLessEqual(seen, set(wholes))
        self.assertGreater(len(seen), 1)
        self.note("read", wholes[-1])

    def test_everything_at_one_key(self) -> None:
        """Puts, copies and deletes of one key: in the end it is there as a whole, or not."""
        wholes = {b"%d" % number * 500 for number in range(MANY)} | {b"source"}
        self.put("source", b"source")

        def act(number: int) -> None:
            for _ in range(5):
                if number % 3 == 0:
                    self.client.delete_object(Bucket=BUCKET, Key="busy")
                elif number % 3 == 1:
                    self.client.copy_object(Bucket=BUCKET, Key="busy", CopySource=f"{BUCKET}/source")
                else:
                    self.assertEqual(self.put("busy", b"%d" % number * 500), "")

        at_once(act, MANY)
        self.client.put_object(Bucket=BUCKET, Key="last", Body=b"last")
        there = {entry["Key"] for entry in self.client.list_objects_v2(Bucket=BUCKET)["Contents"]}
        self.assertLessEqual({"source", "last"}, there)
        self.note("source", b"source")
        self.note("last", b"last")
        if "busy" in there:
            whole = self.get("busy")
            self.assertIn(whole, wholes)
            self.note("busy", whole)


class UploadTests(RaceCase):
    def begin(self, key: str, *datas: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        place = {"Bucket": BUCKET, "Key": key}
        place["UploadId"] = self.client.create_multipart_upload(**place)["UploadId"]
        return place, [
            {"PartNumber": n, "ETag": self.client.upload_part(**place, PartNumber=n, Body=data)["ETag"]}
            for n, data in enumerate(datas, 1)
        ]

    def test_complete_many_times(self) -> None:
        """A client that repeats Complete hears the same, also while the first is at work."""
        datas = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c"]
        place, parts = self.begin("completed", *datas)
        etags = at_once(
            lambda _: self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})[
                "ETag"
            ],
            8,
        )
        self.assertEqual(len(set(etags)), 1)
        self.note("completed", b"".join(datas))

    def test_parts_again_and_again(self) -> None:
        """Of many attempts at a part the one that is listed is taken."""
        place, _ = self.begin("again")
        datas = [bytes([number]) * (5 * MIB + number) for number in range(4)]
        etags = at_once(
            lambda number: self.client.upload_part(**place, PartNumber=1, Body=datas[number])["ETag"], 4
        )
        listed = self.client.list_parts(**place)["Parts"]
        self.assertEqual(len(listed), 1)
        parts = [{"PartNumber": 1, "ETag": listed[0]["ETag"]}]
        code = refusal(
            lambda: self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        )
        # Which of attempts that overlapped a backend has kept, nobody knows: it may be another one.
        if code == "InvalidPart":
            parts = [self.client.upload_part(**place, PartNumber=1, Body=datas[0])]
            parts = [{"PartNumber": 1, "ETag": parts[0]["ETag"]}]
            self.client.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
        else:
            self.assertEqual(code, "")
        whole = self.get("again")
        self.assertIn(whole, datas)
        self.assertEqual(parts[0]["ETag"], etags[datas.index(whole)])
        self.note("again", whole)

    def test_abort_among_parts(self) -> None:
        """Parts that are on their way when the upload is aborted leave nothing."""
        place, _ = self.begin("aborted")

        def act(number: int) -> str:
            if number == 3:
                return refusal(lambda: self.client.abort_multipart_upload(**place))
            data = b"x" * 3 * MIB
            return refusal(lambda: self.client.upload_part(**place, PartNumber=number + 1, Body=data))

        codes = at_once(act, 7)
        self.assertEqual(codes[3], "")
        self.assertLessEqual(set(codes), {"", "NoSuchUpload"})


class QuotaTests(RaceCase):
    quota = 1_000_000

    def test_never_more_than_there_is_room_for(self) -> None:
        """Writers that come at once fill what there is, and not a byte more."""
        size = 90_000
        codes = at_once(lambda number: self.put(f"k{number}", bytes([number]) * size), 30)
        self.assertEqual(set(codes), {"", "InsufficientStorage"})
        self.assertEqual(codes.count(""), 22)
        for number, code in enumerate(codes):
            if code == "":
                self.note(f"k{number}", bytes([number]) * size)
