"""Who is asking, and may they: authentication first, then the bucket."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from enum import IntEnum
from hashlib import sha256
from hmac import compare_digest

from attrs import define, field, frozen

from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import BucketConfig, Config, CredentialConfig, UserConfig
from s3orchestrator.domain.records import Bucket
from s3orchestrator.objects.catalog import Catalog
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.protocol.operations import Operation, Right
from s3orchestrator.protocol.sigv4 import Verified, parse, verify
from s3orchestrator.values import value

TOKEN_HEADER = b"x-proxy-token"


class BucketMismatch(S3Error):
    """The caller asks for a bucket that is not one of theirs, or is not there, which it must not learn."""

    def __init__(self, identity: Identity, requested: str) -> None:
        super().__init__("AccessDenied")
        self.requested = requested
        # A user may have any number, and is named in the trail already.
        self.authorized = "" if identity.user else ", ".join(sorted(identity.buckets))


class Access(IntEnum):
    """How much a caller may do; each includes the ones before."""

    READ = 1
    WRITE = 2
    FULL = 3


# What these tell is which buckets there are.
_ABOUT_BUCKETS = frozenset({Operation.LIST_BUCKETS, Operation.HEAD_BUCKET, Operation.CREATE_BUCKET})

_NEEDED = {Right.READ: Access.READ, Right.WRITE: Access.WRITE, Right.DELETE: Access.FULL}


@frozen
class Identity:
    """
    A caller who has been recognised.

    `user` is a user's name, None for the credential of a bucket. `buckets` are those the
    file grants; a user also has what it has created.
    """

    buckets: frozenset[str]
    access: Access = Access.FULL
    user: str | None = None
    may_create: bool = False

    @property
    def owner_id(self) -> str:
        """What S3 documents show as the caller's id."""
        return self.user or "s3-orchestrator"

    def may_see(self, bucket: Bucket) -> bool:
        """Tell whether the bucket is one of the caller's."""
        return bucket.name in self.buckets or (self.user is not None and bucket.owner == self.user)


@value
class Authenticated:
    """A recognised caller; `verified` seeds the chunk signatures, None for a token."""

    identity: Identity
    verified: Verified | None = None


@define(eq=False)
class Credentials:
    """
    Every credential of the configuration, by what a request shows.

    `keys` are signing keys made of them: whoever lets go of a secret lets go of its keys.
    """

    _secrets: Mapping[str, tuple[str, Identity]]
    _tokens: tuple[tuple[bytes, Identity], ...]
    keys: SigningKeys = field(factory=SigningKeys, init=False)

    @classmethod
    def of(cls, config: Config) -> Credentials:
        """Collect the credentials of buckets and users; ids are unique, which validation has seen to."""
        secrets: dict[str, tuple[str, Identity]] = {}
        tokens: list[tuple[bytes, Identity]] = []
        for holder, identity in _holders(config):
            for credential in holder.credentials:
                if credential.access_key_id:
                    secrets[credential.access_key_id] = (credential.secret_access_key, identity)
                if isinstance(credential, CredentialConfig) and credential.token:
                    tokens.append((_digest(credential.token.encode()), identity))
        return cls(secrets, tuple(tokens))

    def secret_of(self, access_key_id: str) -> tuple[str | None, Identity | None]:
        """Return what a known id must have signed with, and who it is."""
        return self._secrets.get(access_key_id, (None, None))

    def of_token(self, token: bytes) -> Identity | None:
        """Compare with every token, in a time that tells nothing about them."""
        shown = _digest(token)
        found: Identity | None = None
        for known, identity in self._tokens:
            if compare_digest(known, shown):
                found = identity
        return found


def _holders(config: Config) -> Iterable[tuple[BucketConfig | UserConfig, Identity]]:
    for bucket in config.buckets:
        yield bucket, Identity(frozenset([bucket.name]))
    for user in config.users:
        access = Access[user.access.upper()]
        yield user, Identity(frozenset(user.buckets), access, user.name, user.create_buckets)


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()


@define(eq=False)
class AccessControl:
    """
    Authenticates a call and decides whether its operation is allowed.

    Nobody learns from a refusal what they may not know: for those who may not create
    buckets a missing bucket looks like somebody else's.
    """

    _credentials: Live[Credentials]
    _catalog: Catalog
    _region: str | None = None

    def authenticate(self, call: Call) -> Authenticated:
        """:raises S3Error: the caller is not recognised, or the signature is wrong, late or early."""
        claim = parse(call)
        if claim is None:
            return self._by_token(call)
        known = self._credentials.now
        secret, identity = known.secret_of(claim.credential.access_key_id)
        verified = verify(claim, call, secret, now=call.now, region=self._region, keys=known.keys)
        assert identity is not None  # verify refuses a missing secret
        return Authenticated(identity, verified)

    def _by_token(self, call: Call) -> Authenticated:
        tokens = call.headers.get(TOKEN_HEADER)
        identity = self._credentials.now.of_token(tokens[0]) if tokens and len(tokens) == 1 else None
        if identity is None:
            raise S3Error("AccessDenied")
        return Authenticated(identity)

    def learning(self, operation: Operation, name: str | None) -> Awaitable[None] | None:
        """
        Hear of what other instances did to buckets a moment ago, where it matters to the operation.

        :returns: what to wait for; mostly nothing.
        """
        if operation in _ABOUT_BUCKETS:
            return self._catalog.look_again()
        if name is not None and not self._catalog.has_heard_of(name):
            return self._catalog.look_for(name)
        return None

    def authorise(self, identity: Identity, operation: Operation, name: str | None) -> Bucket | None:
        """
        Return the bucket the operation is about; None for operations without one.

        :raises S3Error: `AccessDenied`, or `NoSuchBucket` for those who would learn it anyway.
        """
        if operation.right is Right.LIST_BUCKETS:
            return None
        assert name is not None
        if operation.right is Right.CREATE_BUCKET:
            self._check_may_create(identity, name)
            return None
        bucket = self.reach(identity, name)
        if operation.right is Right.DELETE_BUCKET:
            self._check_may_remove(identity, bucket)
        elif identity.access < _NEEDED[operation.right]:
            raise S3Error("AccessDenied")
        return bucket

    def _check_may_remove(self, identity: Identity, bucket: Bucket) -> None:
        # What the file lists stays, for others count on it, whoever made it before it was listed.
        is_own = bucket.owner is not None and bucket.owner == identity.user
        if not is_own or identity.access < Access.FULL or self._catalog.is_of_file(bucket):
            raise S3Error("AccessDenied")

    @staticmethod
    def check_expected_owner(identity: Identity, call: Call) -> None:
        """:raises S3Error: `AccessDenied`: the caller expects the bucket to be somebody else's."""
        for name in (b"x-amz-expected-bucket-owner", b"x-amz-source-expected-bucket-owner"):
            expected = call.header(name)
            if expected is not None and expected != identity.owner_id:
                raise S3Error("AccessDenied")

    def _check_may_create(self, identity: Identity, name: str) -> None:
        bucket = self._catalog.find(name)
        if bucket is not None and identity.may_see(bucket):
            # Tools create the bucket they were given, to be sure, and go on if it turns out to be theirs.
            raise S3Error("BucketAlreadyOwnedByYou", BucketName=name)
        if not identity.may_create:
            raise S3Error("AccessDenied")

    async def reach_source(self, identity: Identity, name: str) -> Bucket:
        """
        Return the bucket that a copy is made from.

        :raises S3Error: as `authorise`.
        """
        await self._catalog.look_for(name)
        return self.reach(identity, name)

    def reach(self, identity: Identity, name: str) -> Bucket:
        """
        Return a bucket the caller may at least read.

        :raises S3Error: as `authorise`.
        """
        bucket = self._catalog.find(name)
        if bucket is not None and identity.may_see(bucket):
            return bucket
        if bucket is None and identity.may_create:
            raise S3Error("NoSuchBucket", BucketName=name)
        raise BucketMismatch(identity, name)

    def visible(self, identity: Identity) -> list[Bucket]:
        """Return the caller's buckets, by name."""
        return [bucket for bucket in self._catalog.all() if identity.may_see(bucket)]
