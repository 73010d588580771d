"""Buckets that users make and remove, and what clients ask about buckets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.integration.s3_server import ServerCase

PART = b"p" * 100


class CreatingTests(ServerCase):
    """Buckets that users make and remove."""

    def setUp(self) -> None:
        super().setUp()
        self.bob = self.server.caller("bob")
        self.maker = self.server.caller("maker")

    def test_life(self) -> None:
        """Its maker owns a new bucket: uses it, sees it, and removes it once it is empty."""
        created = self.assertSucceeded(self.bob.ask("PUT", "/bobs"))
        self.assertEqual((created.header("location"), created.body), ("/bobs", b""))
        self.assertSucceeded(self.bob.ask("PUT", "/bobs/a", b"data"))
        self.assertIn("bobs", self.bob.ask("GET", "/").texts("Buckets/Bucket/Name"))
        self.assertRefused(self.alice.ask("GET", "/bobs/a"), 403, "AccessDenied")
        self.assertRefused(self.alice.ask("DELETE", "/bobs"), 403, "AccessDenied")
        self.assertNotIn("bobs", self.alice.ask("GET", "/").texts("Buckets/Bucket/Name"))
        refused = self.bob.ask("DELETE", "/bobs")
        self.assertRefused(refused, 409, "BucketNotEmpty")
        self.assertEqual(refused.detail("BucketName"), "bobs")
        self.assertSucceeded(self.bob.ask("DELETE", "/bobs/a"), 204)
        self.assertSucceeded(self.bob.ask("DELETE", "/bobs"), 204)
        self.assertRefused(self.bob.ask("GET", "/bobs"), 404, "NoSuchBucket")
        self.assertRefused(self.bob.ask("DELETE", "/bobs"), 404, "NoSuchBucket")

    def test_name_is_free_again(self) -> None:
        """A removed bucket's name may be taken by anybody, and nothing of the old one is in it."""
        before = self.server.settled()
        self.assertSucceeded(self.bob.ask("PUT", "/again"))
        upload = self.bob.ask("POST", "/again/up?uploads").text("UploadId")
        self.assertSucceeded(self.bob.ask("PUT", f"/again/up?partNumber=1&uploadId={upload}", PART))
        self.assertSucceeded(self.bob.ask("DELETE", "/again"), 204)
        self.assertSucceeded(self.maker.ask("PUT", "/again"))
        self.assertEqual(self.maker.ask("GET", "/again?uploads").texts("Upload/Key"), [])
        self.assertRefused(self.bob.ask("GET", "/again"), 403, "AccessDenied")
        after = self.server.settled()
        self.assertEqual(after["counts"], before["counts"])
        self.assertEqual(after["uploads on a"], before["uploads on a"])

    def test_taken_names(self) -> None:
        """One's own bucket is there already; somebody else's is not to be had."""
        self.assertSucceeded(self.bob.ask("PUT", "/taken"))
        for caller, name, code in (
            (self.bob, "taken", "BucketAlreadyOwnedByYou"),
            (self.alice, "taken", "BucketAlreadyExists"),
            (self.alice, "photos", "BucketAlreadyOwnedByYou"),
            (self.bob, "photos", "BucketAlreadyExists"),
        ):
            with self.subTest(f"{caller.access_key_id} {name}"):
                answer = caller.ask("PUT", f"/{name}")
                self.assertRefused(answer, 409, code)
                self.assertEqual(answer.detail("BucketName"), name)

    def test_limited_maker(self) -> None:
        """A user who may only write cannot delete, not even what it has made."""
        self.assertSucceeded(self.maker.ask("PUT", "/made"))
        self.assertSucceeded(self.maker.ask("PUT", "/made/a", b"data"))
        self.assertRefused(self.maker.ask("DELETE", "/made/a"), 403, "AccessDenied")
        self.assertRefused(self.maker.ask("DELETE", "/made"), 403, "AccessDenied")

    def test_names(self) -> None:
        """CreateBucket wants S3's rules, and names that are not ours."""
        before = self.server.settled()
        for name in (
            "ab",
            64 * "a",
            "Capital",
            "under_score",
            "-first",
            "last-",
            ".first",
            "last.",
            "two..dots",
            "dot.-dash",
            "dash-.dot",
            "192.168.5.4",
            "xn--a",
            "sthree-a",
            "amzn-s3-demo-a",
            "a-s3alias",
            "a--ol-s3",
            "a--x-s3",
            "b%C3%BCcher",
            "a%20b",
            "~own",
            "metrics",
            "admin",
        ):
            with self.subTest(name):
                answer = self.bob.ask("PUT", f"/{name}")
                self.assertRefused(answer, 400, "InvalidBucketName")
                self.assertTrue(answer.detail("BucketName"))
        self.assertEqual(self.server.settled(), before)
        for name in ("abc", 63 * "a", "a.b.c", "1-2", "192.168.5.4.5"):
            with self.subTest(name):
                self.assertSucceeded(self.bob.ask("PUT", f"/{name}"))
                self.assertSucceeded(self.bob.ask("DELETE", f"/{name}/"), 204)

    def test_region_the_client_believes_in(self) -> None:
        """Whoever signs for another region creates buckets there, and is told the same as everybody."""
        abroad = self.server.caller("bob", region="eu-central-1")
        body = (
            b"<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint>"
            b"</CreateBucketConfiguration>"
        )
        self.assertRefused(self.bob.ask("PUT", "/abroad", body), 400, "InvalidLocationConstraint")
        self.assertSucceeded(abroad.ask("PUT", "/abroad", body))
        self.assertEqual(abroad.ask("DELETE", "/abroad").status, 204)

    def test_documents(self) -> None:
        """The document may be left out; if it is there it must make sense."""
        before = self.server.settled()
        constraint = (
            b"<CreateBucketConfiguration><LocationConstraint>%b</LocationConstraint>"
            b"</CreateBucketConfiguration>"
        )
        for body, code in (
            (b"<CreateBucketConfiguration>", "MalformedXML"),
            (b"not XML", "MalformedXML"),
            (b"<Another/>", "MalformedXML"),
            (b'<!DOCTYPE a [<!ENTITY b "c">]><CreateBucketConfiguration/>', "MalformedXML"),
            (constraint % b"mars-north-1", "InvalidLocationConstraint"),
        ):
            with self.subTest(body):
                self.assertRefused(self.bob.ask("PUT", "/documented", body), 400, code)
        answer = self.bob.ask("PUT", "/documented", b"<CreateBucketConfiguration>" + 1100000 * b" ")
        self.assertRefused(answer, 400, "MaxMessageLengthExceeded")
        self.assertEqual(self.server.settled(), before)
        for body in (
            constraint % b"us-east-1",
            b'<?xml version="1.0"?><CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>',
        ):
            with self.subTest(body):
                self.assertSucceeded(self.bob.ask("PUT", "/documented", body))
                self.assertSucceeded(self.bob.ask("DELETE", "/documented"), 204)

    def test_headers(self) -> None:
        """What a bucket cannot be given is refused."""
        before = self.server.settled()
        for header, value, status, code in (
            ("x-amz-acl", "public-read", 400, "AccessControlListNotSupported"),
            ("x-amz-acl", "nonsense", 400, "InvalidArgument"),
            ("x-amz-bucket-object-lock-enabled", "true", 501, "NotImplemented"),
            ("x-amz-bucket-object-lock-enabled", "maybe", 400, "InvalidArgument"),
            ("x-amz-object-ownership", "ObjectWriter", 501, "NotImplemented"),
            ("x-amz-object-ownership", "Nobody", 400, "InvalidArgument"),
            ("x-amz-grant-read", "id=1", 501, "NotImplemented"),
        ):
            with self.subTest(f"{header}: {value}"):
                self.assertRefused(self.bob.ask("PUT", "/headed", headers={header: value}), status, code)
        self.assertEqual(self.server.settled(), before)
        good = {"x-amz-acl": "private", "x-amz-object-ownership": "BucketOwnerEnforced"}
        self.assertSucceeded(self.bob.ask("PUT", "/headed", headers=good))

    def test_at_once(self) -> None:
        """Of two who create a bucket at the same time one wins."""
        with ThreadPoolExecutor(10) as threads:
            callers = 5 * [self.bob, self.maker]
            answers = list(threads.map(lambda caller: caller.ask("PUT", "/contended"), callers))
        self.assertEqual(sorted(answer.status for answer in answers), [200, *9 * [409]])

    def test_paging(self) -> None:
        """Buckets come in pages where that is wanted."""
        names = [f"paged-{letter}" for letter in "abcde"]
        for name in names:
            self.assertSucceeded(self.bob.ask("PUT", f"/{name}"))
        found, token = [], ""
        while True:
            target = f"/?max-buckets=2&prefix=paged{token}"
            page = self.assertSucceeded(self.bob.ask("GET", target))
            found.append(page.texts("Buckets/Bucket/Name"))
            self.assertEqual(page.text("Prefix"), "paged")
            self.assertEqual(set(page.texts("Buckets/Bucket/BucketRegion")), {"us-east-1"})
            if page.text("ContinuationToken") is None:
                break
            token = f"&continuation-token={page.text('ContinuationToken')}"
        self.assertEqual(found, [names[:2], names[2:4], names[4:]])
        for query in ("max-buckets=0", "max-buckets=10001", "max-buckets=x", "max-buckets=-1"):
            with self.subTest(query):
                answer = self.bob.ask("GET", f"/?{query}")
                self.assertRefused(answer, 400, "InvalidArgument")
                self.assertEqual(answer.detail("ArgumentName"), "max-buckets")
        self.assertRefused(self.bob.ask("GET", "/?continuation-token=%25"), 400, "InvalidArgument")


class SubresourceTests(ServerCase):
    """What clients ask of buckets that have no such configuration."""

    def test_not_configured(self) -> None:
        """They hear what S3 says of a bucket where nobody has configured anything."""
        for name, code in (
            ("lifecycle", "NoSuchLifecycleConfiguration"),
            ("policy", "NoSuchBucketPolicy"),
            ("policyStatus", "NoSuchBucketPolicy"),
            ("cors", "NoSuchCORSConfiguration"),
            ("tagging", "NoSuchTagSet"),
            ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
            ("object-lock", "ObjectLockConfigurationNotFoundError"),
            ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
            ("ownershipControls", "OwnershipControlsNotFoundError"),
            ("replication", "ReplicationConfigurationNotFoundError"),
            ("website", "NoSuchWebsiteConfiguration"),
        ):
            with self.subTest(name):
                answer = self.alice.ask("GET", f"/photos?{name}")
                self.assertRefused(answer, 404, code)
                self.assertEqual(answer.detail("BucketName"), "photos")

    def test_empty(self) -> None:
        """Or an empty document."""
        for name, root in (
            ("versioning", "VersioningConfiguration"),
            ("logging", "BucketLoggingStatus"),
            ("notification", "NotificationConfiguration"),
            ("accelerate", "AccelerateConfiguration"),
            ("location", "LocationConstraint"),
        ):
            with self.subTest(name):
                answer = self.assertSucceeded(self.alice.ask("GET", f"/photos?{name}="))
                self.assertEqual(answer.document.tag, "{http://s3.amazonaws.com/doc/2006-03-01/}" + root)
                self.assertEqual((len(answer.document), answer.document.text), (0, None))
        answer = self.alice.ask("GET", "/photos?requestPayment")
        self.assertEqual(answer.text("Payer"), "BucketOwner")

    def test_owner(self) -> None:
        """The access list names the caller as the owner who may do everything."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data"))
        for target in ("/photos?acl", "/photos/a?acl"):
            with self.subTest(target):
                answer = self.assertSucceeded(self.alice.ask("GET", target))
                self.assertEqual(answer.texts("AccessControlList/Grant/Permission"), ["FULL_CONTROL"])
                self.assertEqual(answer.text("Owner/ID"), answer.text("AccessControlList/Grant/Grantee/ID"))
        self.assertRefused(self.alice.ask("GET", "/photos/none?acl"), 404, "NoSuchKey")

    def test_tags(self) -> None:
        """An object has no tags; a missing one has not even none."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"data"))
        answer = self.assertSucceeded(self.alice.ask("GET", "/photos/a?tagging"))
        self.assertEqual(len(answer.document[0]), 0)
        self.assertRefused(self.alice.ask("GET", "/photos/none?tagging"), 404, "NoSuchKey")

    def test_region(self) -> None:
        """HeadBucket tells the region."""
        answer = self.alice.ask("HEAD", "/photos")
        self.assertEqual((answer.status, answer.header("x-amz-bucket-region")), (200, "us-east-1"))
        self.assertEqual(self.alice.ask("HEAD", "/photos/").status, 200)
