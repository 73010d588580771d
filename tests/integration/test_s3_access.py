"""Who may do what: the buckets of the file, and users of several kinds."""

from __future__ import annotations

from attrs import frozen

from tests.integration.asking import Answer, Caller
from tests.integration.s3_server import ServerCase

PART = b"p" * 100
DELETE = b"<Delete><Object><Key>nothing</Key></Object></Delete>"


@frozen
class Deed:
    """One request about the bucket `photos`, and the status of its success."""

    method: str
    target: str
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def by(self, caller: Caller, bucket: str = "photos", upload: str = "") -> Answer:
        """Do it."""
        target = f"/{bucket}{self.target}".replace("UPLOAD", upload)
        return caller.ask(self.method, target, self.body, dict(self.headers))


def attributes(names: str) -> tuple[tuple[str, str], ...]:
    return (("x-amz-object-attributes", names),)


READS = (
    Deed("HEAD", ""),
    Deed("GET", ""),
    Deed("GET", "?list-type=2"),
    Deed("GET", "?versions"),
    Deed("GET", "?uploads"),
    Deed("GET", "?location"),
    Deed("GET", "?versioning"),
    Deed("GET", "?acl"),
    Deed("GET", "?policy", 404),
    Deed("GET", "?logging"),
    Deed("GET", "/a"),
    Deed("HEAD", "/a"),
    Deed("GET", "/a?attributes", headers=attributes("ETag")),
    Deed("GET", "/a?acl"),
    Deed("GET", "/a?tagging"),
    Deed("GET", "/up?uploadId=UPLOAD"),
)
WRITES = (
    Deed("PUT", "/b", body=b"data"),
    Deed("PUT", "/c", headers=(("x-amz-copy-source", "photos/a"),)),
    Deed("POST", "/d?uploads"),
    Deed("PUT", "/up?partNumber=1&uploadId=UPLOAD", body=PART),
    Deed("PUT", "/up?partNumber=2&uploadId=UPLOAD", headers=(("x-amz-copy-source", "photos/a"),)),
    Deed("DELETE", "/up?uploadId=UPLOAD", 204),
)
DELETES = (
    Deed("DELETE", "/nothing", 204),
    Deed("POST", "?delete", body=DELETE),
    Deed("DELETE", "?cors", 204),
)
ALL = (*READS, *WRITES, *DELETES)


class RightsTests(ServerCase):
    """The table of users and rights."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data"))
        self.upload = self.alice.ask("POST", "/photos/up?uploads").text("UploadId") or ""

    def _may(self, name: str, *deeds: Deed, bucket: str = "photos") -> None:
        for deed in deeds:
            with self.subTest(f"{name}: {deed.method} {deed.target}"):
                answer = deed.by(self.server.caller(name), bucket, self.upload)
                self.assertEqual(answer.status, deed.status, answer.body)

    def _may_not(
        self, name: str, *deeds: Deed, bucket: str = "photos", status: int = 403, code: str = "AccessDenied"
    ) -> None:
        before = self.server.settled()
        for deed in deeds:
            with self.subTest(f"{name}: {deed.method} {deed.target}"):
                answer = deed.by(self.server.caller(name), bucket, self.upload)
                if deed.method == "HEAD":
                    self.assertEqual(answer.status, status)
                else:
                    self.assertRefused(answer, status, code)
        self.assertEqual(self.server.settled(), before)

    def test_reader(self) -> None:
        """Reads everything and changes nothing."""
        self._may("reader", *READS)
        self._may_not("reader", *WRITES, *DELETES, Deed("DELETE", ""))

    def test_writer(self) -> None:
        """Writes, and overwrites, but deletes nothing."""
        self._may("writer", *READS, *WRITES)
        self._may("writer", Deed("PUT", "/a", body=b"again"))
        self._may_not("writer", *DELETES, Deed("DELETE", ""))

    def test_bucket_credential(self) -> None:
        """Does everything in its bucket, but cannot remove a bucket of the file, nor make one."""
        self._may("photoskey", *ALL)
        self._may_not("photoskey", Deed("DELETE", ""))
        # Tools create the bucket they are about to use, and go on if it is theirs already.
        self._may_not("photoskey", Deed("PUT", ""), status=409, code="BucketAlreadyOwnedByYou")
        self._may_not("photoskey", Deed("PUT", ""), bucket="new-bucket")

    def test_full_user(self) -> None:
        """So does a user who may use the bucket; nor may one who creates buckets delete one of the file."""
        self._may("alice", *ALL)
        self._may_not("alice", Deed("DELETE", ""))

    def test_other_bucket(self) -> None:
        """Somebody else's bucket is 403, for whatever it is asked, whoever asks."""
        self._may_not("docskey", *ALL, Deed("DELETE", ""))
        self._may_not("bob", *ALL, Deed("DELETE", ""))
        self._may_not("reader", *ALL, bucket="documents")

    def test_missing_bucket(self) -> None:
        """A missing one is 404 for those who may create buckets; to the rest it looks like a foreign one."""
        for name in ("alice", "bob", "maker"):
            self._may_not(name, *ALL, Deed("DELETE", ""), bucket="nowhere", status=404, code="NoSuchBucket")
        answer = self.server.caller("bob").ask("GET", "/nowhere/a")
        self.assertEqual(answer.detail("BucketName"), "nowhere")
        for name in ("photoskey", "reader", "writer"):
            self._may_not(name, *ALL, Deed("DELETE", ""), bucket="nowhere")
        foreign = self.server.caller("reader").ask("GET", "/documents/a")
        missing = self.server.caller("reader").ask("GET", "/nowhere/a")
        for name in ("Code", "Message", "BucketName"):
            self.assertEqual(foreign.detail(name), missing.detail(name))

    def test_anonymous(self) -> None:
        """Who does not say who it is may do nothing."""
        before = self.server.settled()
        for deed in (*ALL, Deed("DELETE", "")):
            for bucket in ("photos", "nowhere"):
                with self.subTest(f"{deed.method} /{bucket}{deed.target}"):
                    target = f"/{bucket}{deed.target}".replace("UPLOAD", self.upload)
                    answer = self.alice.ask_unsigned(deed.method, target, deed.body, dict(deed.headers))
                    self.assertEqual(answer.status, 403)
        self.assertEqual(self.alice.ask_unsigned("GET", "/").status, 403)
        self.assertEqual(self.server.settled(), before)

    def test_copy_sources(self) -> None:
        """To copy one must be allowed to read the source as well."""
        self.assertSucceeded(self.alice.ask("PUT", "/documents/mine", b"data"))
        upload = self.alice.ask("POST", "/documents/up?uploads").text("UploadId")
        before = self.server.settled()
        for name, source, status, code in (
            ("docskey", "photos/a", 403, "AccessDenied"),
            ("docskey", "nowhere/a", 403, "AccessDenied"),
            ("alice", "nowhere/a", 404, "NoSuchBucket"),
            ("docskey", "/documents/none", 404, "NoSuchKey"),
        ):
            for target in ("/documents/copy", f"/documents/up?partNumber=1&uploadId={upload}"):
                with self.subTest(f"{name} {source} {target}"):
                    answer = self.server.caller(name).ask(
                        "PUT", target, headers={"x-amz-copy-source": source}
                    )
                    self.assertRefused(answer, status, code)
        self.assertEqual(self.server.settled(), before)
        answer = self.alice.ask("PUT", "/documents/copy", headers={"x-amz-copy-source": "photos/a"})
        self.assertSucceeded(answer)

    def test_expected_owner(self) -> None:
        """Who names the owner it expects is refused if it is another."""
        owner = self.alice.ask("GET", "/").text("Owner/ID") or ""
        for method, target in (
            ("GET", "/photos/a"),
            ("PUT", "/photos/x"),
            ("GET", "/photos"),
            ("DELETE", "/photos/x"),
        ):
            with self.subTest(f"{method} {target}"):
                wrong = {"x-amz-expected-bucket-owner": "123456789012"}
                self.assertRefused(self.alice.ask(method, target, headers=wrong), 403, "AccessDenied")
                right = {"x-amz-expected-bucket-owner": owner}
                self.assertIn(self.alice.ask(method, target, headers=right).status, (200, 204))
        wrong = {"x-amz-copy-source": "photos/a", "x-amz-source-expected-bucket-owner": "123456789012"}
        self.assertRefused(self.alice.ask("PUT", "/photos/x", headers=wrong), 403, "AccessDenied")

    def test_visible_buckets(self) -> None:
        """ListBuckets shows one's own, sorted."""
        for name, buckets in (
            ("photoskey", ["photos"]),
            ("docskey", ["documents"]),
            ("reader", ["photos"]),
            ("bob", []),
            ("alice", ["Older_Name", "documents", "few", "photos"]),
        ):
            with self.subTest(name):
                answer = self.assertSucceeded(self.server.caller(name).ask("GET", "/"))
                self.assertEqual(answer.texts("Buckets/Bucket/Name"), buckets)
                self.assertIsNotNone(answer.text("Buckets"))
                for date in answer.texts("Buckets/Bucket/CreationDate"):
                    self.assertRegex(date, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$")

    def test_older_names(self) -> None:
        """A bucket of the file may have a name that nobody may create any more."""
        self.assertSucceeded(self.alice.ask("PUT", "/Older_Name/a", b"data"))
        self.assertEqual(self.alice.ask("GET", "/Older_Name/a").body, b"data")
        copied = self.alice.ask("PUT", "/photos/older", headers={"x-amz-copy-source": "Older_Name/a"})
        self.assertSucceeded(copied)

    def test_own_paths(self) -> None:
        """Health answers on its own paths without credentials, and nothing below them is hidden."""
        for path in ("/health", "/health/", "/health/ready"):
            with self.subTest(path):
                self.assertEqual(self.alice.ask_unsigned("GET", path).status, 200)
                self.assertEqual(self.alice.ask_unsigned("HEAD", path).body, b"")
                answer = self.alice.ask_unsigned("PUT", path, b"x")
                self.assertEqual(answer.status, 405)
        self.assertRefused(self.alice.ask("GET", "/health/x"), 404, "NoSuchBucket")
        self.assertRefused(self.alice.ask("GET", "/healthy"), 404, "NoSuchBucket")
