"""What many clients together know of some keys."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from threading import Lock

from attrs import define, field

from s3orchestrator.testing.faults.register import Call, Impossible, Register, Value

MOST_PENDING = 6  # calls without an answer on one key; each may double what is possible


@define(eq=False)
class Key:
    """
    One key and what it may hold; used by any thread.

    `lost` says what could not be explained. There is no telling what is there then, so whatever comes
    after is not looked at any more.
    """

    name: str
    lost: str = field(init=False, default="")
    last_etag: str = field(init=False, default="")
    _register: Register = field(init=False, factory=Register)
    _lock: Lock = field(init=False, factory=Lock)

    @property
    def is_crowded(self) -> bool:
        """Whether so much is unclear that it should be left alone for a while."""
        return self._register.pending >= MOST_PENDING

    def values(self) -> set[Value]:
        """What may be there now."""
        with self._lock:
            return self._register.values()

    def begin(self, call: Call) -> int:
        """A call leaves its client."""
        with self._lock:
            return self._register.begin(call)

    def read(self, number: int, value: Value) -> None:
        """It was answered with this."""
        self._told(lambda: self._register.read(number, value))

    def glimpsed(self, number: int, value: Value) -> None:
        """It was answered with this while the ledger was away."""
        self._told(lambda: self._register.glimpsed(number, value))

    def written(self, number: int) -> None:
        """It was acknowledged."""
        self._told(lambda: self._register.written(number))

    def refused(self, number: int) -> None:
        """Its condition did not hold."""
        self._told(lambda: self._register.refused(number))

    def withdraw(self, number: int) -> None:
        """It cannot have changed anything."""
        self._told(lambda: self._register.withdraw(number))

    def settle(self) -> None:
        """Nobody is working on any call any more."""
        self._told(self._register.settle)

    def _told(self, tell: Callable[[], None]) -> None:
        with self._lock:
            if self.lost:
                return
            try:
                tell()
            except Impossible as error:
                self.lost = f"{self.name}: {error}"


@define(eq=False)
class Values:
    """All that was ever written; a value goes by the MD5 of its bytes, whatever S3 calls it."""

    _by_etag: dict[str, str] = field(init=False, factory=dict)

    def add(self, data: bytes, etag: str = "") -> str:
        """Return the value that these bytes are; `etag` is what S3 will call them, if not by their MD5."""
        value = md5(data).hexdigest()
        self._by_etag[value] = value
        if etag:
            self._by_etag[etag] = value
        return value

    def of_etag(self, etag: str) -> str:
        """Return a value by what S3 calls it; what nobody has written is a value of its own."""
        return self._by_etag.get(etag, f"the unknown ETag {etag}")

    def of_bytes(self, data: bytes) -> str:
        """Return the value that was read."""
        return md5(data).hexdigest()
