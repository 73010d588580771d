"""A second copy of an object: until something replicates, tests make it themselves."""

from __future__ import annotations

from attrs import evolve

from s3orchestrator.domain.records import Blob
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.counting import Kind, Tally
from s3orchestrator.testing.harness import Harness

INSERT = """
    INSERT INTO blobs (backend, name, state, size, created_ms, bucket_id, key, etag, is_plain, was_live,
                       unclear, version)
    VALUES (:backend, :name, 'live', :size, :created_ms, :bucket_id, :key, :etag, TRUE, TRUE, FALSE, :version)
"""


def add_copy(harness: Harness, key: str, backend: str) -> Blob:
    """Give the latest version of `key` another live blob, with its bytes and its row, on `backend`."""
    version = harness.run(harness.core.objects.reading.find(harness.bucket, key))
    blob = version.blobs[0]
    held = harness.backend(blob.backend).objects[blob.name]
    harness.backend(backend).objects[blob.name] = held

    async def insert(tx: ITransaction) -> None:
        await tx.run(
            INSERT,
            backend=backend,
            name=blob.name,
            size=blob.size,
            created_ms=blob.created_ms,
            bucket_id=blob.bucket_id,
            key=blob.key,
            etag=blob.etag,
            version=version.id,
        )
        tally = Tally()
        tally.move(backend, blob.bucket_id, Kind.ABSENT, 0, Kind.LIVE, blob.size)
        await tally.write(tx)

    harness.run(harness.core.ledger.database.transact(insert))
    return evolve(blob, backend=backend)
