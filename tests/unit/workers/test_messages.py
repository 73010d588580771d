"""Settings on their way to another process."""

from __future__ import annotations

import os
import pickle

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.loader import load
from s3orchestrator.workers.messages import packed, unpacked
from tests.unit.config.test_reference import SAMPLE, SECRETS

MORE = """
rate_limit: {trusted_proxies: [10.0.0.0/8, "::1/128", unix]}
"""


class SettingsTests(SynchronousTestCase):
    def test_round_trip(self) -> None:
        """What was in force there is in force here, secrets included; these still hide."""
        config = load(SAMPLE.read_text() + MORE, SECRETS).config
        found = unpacked(packed(config))
        self.assertEqual(found, config)
        self.assertNotIn(SECRETS["PHOTOS_SECRET"] + "'", repr(found.buckets))

    def test_nothing_else(self) -> None:
        """Nothing is made that is no setting, least of all something that acts."""

        class Acts:
            def __reduce__(self) -> object:
                return os.system, ("true",)

        for other in (Acts(), os.path.join, ValueError("x")):
            with self.assertRaises(pickle.UnpicklingError):
                unpacked(pickle.dumps(other) if not isinstance(other, Acts) else _dumped(other))
        with self.assertRaises(pickle.UnpicklingError):
            unpacked(pickle.dumps({"not": "settings"}))


def _dumped(value: object) -> bytes:
    return pickle.dumps(value)
