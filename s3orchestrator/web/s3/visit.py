"""What is known of a request while it is served: its line of the audit trail is made of it."""

from __future__ import annotations

from attrs import define

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.telemetry.audit import record
from s3orchestrator.telemetry.http import LEFT
from s3orchestrator.web.admission import Pool
from s3orchestrator.web.request import Request
from s3orchestrator.web.s3.access import BucketMismatch, Identity

# Beside ListObjectsV2 the plain name would look like both.
_NAMES = {Operation.LIST_OBJECTS: "ListObjectsV1"}

_MOST_OF_A_PATH = 4096  # a key may have 1024 bytes, of which each may take three


@define(eq=False)
class Visit:
    """
    One request. `error` is the code the client was told, or what cut the answer short.

    `rejection` names the event of a request that was turned away before anybody looked at what it wants;
    until then, `stage` is what it would be. `mismatch` is set if it asked for a bucket of somebody else.
    """

    call: Call
    request: Request
    operation: Operation | None = None
    identity: Identity | None = None
    access_key_id: str = ""
    pool: Pool | None = None
    status: int = 0
    error: str = ""
    stage: str = ""
    rejection: str = ""
    mismatch: BucketMismatch | None = None

    def record(self, now: float) -> None:
        """Write the line."""
        call, operation = self.call, self.operation
        name = _NAMES.get(operation, operation.label) if operation else ""
        fields: dict[str, object] = {"operation": name} if name else {}
        fields |= {
            "method": call.method.decode("latin-1")[:32],
            # Without the query, which may be signed.
            "path": call.path.decode("latin-1")[:_MOST_OF_A_PATH],
            "remote": call.client,
            "bucket": call.bucket or "",
            "status": self.status or LEFT,
            "duration_ms": round((now - call.now) * 1000, 3),
        }
        if call.key:
            fields["key"] = call.key
        if self.identity is not None and self.identity.user:
            fields["user"] = self.identity.user
        if self.access_key_id:
            fields["access_key_id"] = self.access_key_id
        if call.body.arrived:
            fields["request_size"] = call.body.arrived
        if self.request.sentLength:
            fields["response_size"] = self.request.sentLength
        if self.mismatch is not None:
            fields["requested_bucket"] = self.mismatch.requested
            if self.mismatch.authorized:
                fields["authorized_bucket"] = self.mismatch.authorized
        if self.error:
            fields["error"] = self.error
        record(f"s3.{self.rejection or name or 'Refused'}", fields)
