"""Signature version 4 on its way out: requests to backends."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, define, field

from s3orchestrator.protocol.canonical import canonical_headers, string_to_sign, timestamp
from s3orchestrator.protocol.forms import UNSIGNED_PAYLOAD
from s3orchestrator.protocol.keys import SigningKeys

_PLAIN = b"host;x-amz-content-sha256;x-amz-date"


@define(eq=False, repr=False)
class Signer:
    """
    Signs requests to one host with one set of credentials.

    Signed are the host, the time, the payload's hash and what `x-amz-*` headers there are:
    the least S3 accepts, since everything else only takes time. `host` is the Host header
    as it will be sent, with its port unless that is the default one.
    """

    host: bytes
    region: str
    access_key_id: str
    _secret: str
    _token: str | None = None
    _keys: SigningKeys = Factory(SigningKeys)
    _second: int = field(init=False, default=-1)
    _stamp: bytes = field(init=False, default=b"")
    _scope: bytes = field(init=False, default=b"")

    def sign(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        headers: Mapping[bytes, bytes],
        payload_hash: bytes = UNSIGNED_PAYLOAD,
        *,
        now: float,
    ) -> dict[bytes, bytes]:
        """
        Return the headers to add to a request, in lower case.

        `path` and `query` must be sent exactly as given and be in the spelling that is
        signed: see `canonical_path`, `canonical_query` and `encoded_query`. Names in
        `headers` are lower-case.
        """
        if int(now) != self._second:
            self._tick(int(now))
        added = {b"x-amz-content-sha256": payload_hash, b"x-amz-date": self._stamp}
        if self._token is not None:
            added[b"x-amz-security-token"] = self._token.encode()
        names, lines = self._signed(headers, added)
        request = b"%s\n%s\n%s\n%s\n%s\n%s" % (method, path, query, lines, names, payload_hash)
        key = self._keys.key(self._secret, self._stamp[:8], self.region)
        signature = key.hexdigest(string_to_sign(self._stamp, self._scope, request))
        added[b"authorization"] = b"AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
            self.access_key_id.encode(),
            self._scope,
            names,
            signature.encode(),
        )
        return added

    def _tick(self, second: int) -> None:
        self._second = second
        self._stamp = timestamp(second)
        self._scope = b"%s/%s/s3/aws4_request" % (self._stamp[:8], self.region.encode())

    def _signed(self, headers: Mapping[bytes, bytes], added: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
        """The names that are signed, and their lines."""
        more = [name for name in headers if name.startswith(b"x-amz-")]
        if not more and self._token is None:
            return _PLAIN, b"host:%s\nx-amz-content-sha256:%s\nx-amz-date:%s\n" % (
                self.host,
                added[b"x-amz-content-sha256"],
                self._stamp,
            )
        values = {name: (headers[name],) for name in more}
        values.update((name, (value,)) for name, value in added.items())
        values[b"host"] = (self.host,)
        names = sorted(values)
        return b";".join(names), canonical_headers(values, names)
