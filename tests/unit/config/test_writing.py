"""Settings written back to a file."""

from __future__ import annotations

import contextlib
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.loader import load
from s3orchestrator.config.scalars import ScalarError, Secret, parse_text
from s3orchestrator.config.sections import (
    BackendConfig,
    BucketConfig,
    Config,
    CredentialConfig,
    RateLimitConfig,
)
from s3orchestrator.config.server import ListenerConfig, ServerConfig, TlsConfig
from s3orchestrator.config.writing import document
from tests.unit.config.samples import MINIMAL


def is_text(text: str) -> bool:
    """Whether a value may be this text."""
    with contextlib.suppress(ScalarError):
        return parse_text(text) == text
    return False


LINES = st.text(min_size=1).filter(is_text)


class DocumentTests(SynchronousTestCase):
    """The file that `init` writes."""

    def test_only_what_differs(self) -> None:
        """Defaults are left out."""
        config = load(MINIMAL, {}).config
        self.assertEqual(
            document(config),
            'server:\n  listen_addr: "127.0.0.1:9000"\n\n'
            'buckets:\n  - name: "photos"\n    credentials:\n'
            '      - access_key_id: "PHOTOSKEY"\n        secret_access_key: "photossecret"\n\n'
            'backends:\n  - name: "backend-0"\n    endpoint: "https://s3.example.net"\n    bucket: "stored"\n'
            '    access_key_id: "AK"\n    secret_access_key: "backendsecret"\n',
        )

    @given(LINES, LINES, st.integers(0, 2**63 - 1), st.integers(1, 10**9), st.floats(1e-9, 1e20))
    def test_round_trip(self, secret: str, path: str, quota: int, milliseconds: int, rate: float) -> None:
        """What is written reads as the same settings, whatever characters are in them."""
        config = Config(
            server=ServerConfig(
                idle_timeout=milliseconds / 1000,
                domains=("s3.example.net",),
                listeners=(
                    ListenerConfig(address="[::1]:9000", tls=TlsConfig(cert_file=secret, key_file=path)),
                    ListenerConfig(address="unix:/run/s3.sock", socket_mode=0o600),
                ),
            ),
            buckets=(BucketConfig(name="photos", credentials=(CredentialConfig(token=Secret(secret)),)),),
            backends=(
                BackendConfig(name="a", type="directory", path=path, quota_bytes=quota),
                BackendConfig(name="b", type="memory", max_object_size=quota),
            ),
            rate_limit=RateLimitConfig(requests_per_sec=rate, trusted_proxies=(ip_network("::/8"),)),
        )
        self.assertEqual(load(document(config), {}).config, config)
