"""S3 services behind relays, as places for backends."""

from __future__ import annotations

from urllib.parse import urlsplit

from attrs import frozen

from s3orchestrator.testing.faults.relay import Relay
from tests.faults.site import Place
from tests.running import S3Storage
from tests.servers import Server


@frozen
class Relayed:
    """A bucket of its own on a server, to be reached through `relay` only; we look behind it directly."""

    relay: Relay
    place: Place

    @classmethod
    def on(cls, server: Server) -> Relayed:
        """Make a bucket, and start a relay."""
        port = urlsplit(server.endpoint).port
        assert port is not None
        relay = Relay(port).start()
        return cls(relay, stored_on(server, f"http://127.0.0.1:{relay.port}"))


def stored_on(server: Server, endpoint: str | None = None) -> Place:
    """Make a bucket on a server, to be reached by `endpoint` if not directly."""
    bucket = server.make_bucket()
    settings = (
        f'endpoint: "{endpoint or server.endpoint}", bucket: "{bucket}", force_path_style: true, '
        f'access_key_id: "{server.access_key_id}", secret_access_key: "{server.secret_access_key}", '
        "quota_bytes: 4GB"
    )
    return Place(settings, S3Storage(server.client(), bucket))
