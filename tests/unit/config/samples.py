"""Small documents for the tests of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from s3orchestrator.config.loader import Loaded, load
from s3orchestrator.config.problems import ConfigErrors

SERVER = """\
server:
  listen_addr: "127.0.0.1:9000"
"""

BUCKETS = """\
buckets:
  - name: photos
    credentials:
      - access_key_id: PHOTOSKEY
        secret_access_key: photossecret
"""

BACKEND = """\
  - endpoint: https://s3.example.net
    bucket: stored
    access_key_id: AK
    secret_access_key: backendsecret
"""

BACKENDS = f"backends:\n{BACKEND}"

MINIMAL = SERVER + BUCKETS + BACKENDS


def two_backends(first_quota: str, second_quota: str) -> str:
    """Two backends in different places."""
    return (
        f"backends:\n{BACKEND}    quota_bytes: {first_quota}\n"
        f"{BACKEND.replace('stored', 'elsewhere')}    quota_bytes: {second_quota}\n"
    )


def errors(text: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The reasons why a document is refused, by path."""
    try:
        load(text, environ or {})
    except ConfigErrors as refused:
        return {problem.path: problem.message for problem in refused.problems}
    return {}


def warnings(loaded: Loaded) -> dict[str, str]:
    """What a document is warned of, by path."""
    return {problem.path: problem.message for problem in loaded.warnings}


def scratch(case: TestCase) -> Path:
    """A directory that goes when the test does."""
    directory = TemporaryDirectory()
    case.addCleanup(directory.cleanup)
    return Path(directory.name).resolve()
