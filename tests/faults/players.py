"""Clients that do whatever clients do, on keys that they share, and note what they hear."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import md5
from random import Random
from threading import Event, Thread

from attrs import define, field

from s3orchestrator.testing.faults.client import Client, NoAnswer, Reply, deleted, listed, upload_id
from s3orchestrator.testing.faults.register import READ, Value, write
from tests.faults.keys import Key, Values

SOURCES = 4  # objects that nobody changes, to be copied
_MOST = 3000  # bytes of an object, mostly
_LARGE = 200_000
_PAUSE = 0.05  # seconds after a failure: who asks a server that is away at once again only counts failures
_AGAIN = 3  # attempts at a Complete that got no answer


def source(number: int) -> tuple[str, bytes]:
    """One of the objects that are copied."""
    return f"source{number}", f"source {number} ".encode() * 50


@define(eq=False)
class Player:
    """
    One client. It asks until told to stop, one thing at a time.

    `unfinished` are uploads whose Complete got no answer: key, number of the call, id and ETags.
    """

    name: str
    client: Client
    keys: Mapping[str, Key]
    values: Values
    seed: int
    operations: int = field(init=False, default=0)
    failures: int = field(init=False, default=0)
    wrong: list[str] = field(init=False, factory=list)
    unfinished: list[tuple[Key, int, str, list[str]]] = field(init=False, factory=list)
    _random: Random = field(init=False)
    _pause: Event = field(init=False, factory=Event)
    _thread: Thread | None = field(init=False, default=None)
    _made: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)

    def start(self) -> None:
        """Go on, in a thread of its own."""
        self._pause.clear()
        self._thread = Thread(target=self._play, name=self.name, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop after what is being asked; see `wait`."""
        self._pause.set()

    def wait(self) -> None:
        """Wait until nothing is being asked."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self) -> None:
        """Repeat each Complete that got no answer until there is one; everything must be well."""
        self.client.close()  # it was made to a process that has gone
        unfinished, self.unfinished = self.unfinished, []
        for key, number, upload, etags in unfinished:
            self._answered(self.client.complete(key.name, upload, etags), key, number)

    def _play(self) -> None:
        names, weights = zip(*_WEIGHTS.items(), strict=True)
        while not self._pause.is_set():
            action: Callable[[Player], bool] = self._random.choices(names, weights)[0]
            try:
                succeeded = action(self)
            except NoAnswer:
                succeeded = False
            except Exception as error:
                self.wrong.append(f"{self.name}: {error!r}")
                return
            if succeeded:
                self.operations += 1
            else:
                self.failures += 1
                self._pause.wait(_PAUSE)

    # --- one operation each; whether it was answered

    def _read(self, ask: Callable[[str], Reply], value_of: Callable[[Reply], str]) -> bool:
        key = self._any_key()
        number = key.begin(READ)
        try:
            reply = ask(key.name)
        except NoAnswer:
            key.withdraw(number)
            raise
        if reply.status >= 500:
            key.withdraw(number)
            return False
        tell = key.glimpsed if "x-s3o-degraded" in reply.headers else key.read
        if reply.status == 404:
            tell(number, None)
            return True
        self._expect(reply, 200)
        key.last_etag = reply.etag
        tell(number, value_of(reply))
        return True

    def get(self) -> bool:
        """Read, and compare with what the ETag promises."""

        def value_of(reply: Reply) -> str:
            value = self.values.of_bytes(reply.body)
            if value != self.values.of_etag(reply.etag):
                return f"other bytes than the ETag {reply.etag} promises"
            return value

        return self._read(self.client.get, value_of)

    def head(self) -> bool:
        """Look."""
        return self._read(self.client.head, lambda reply: self.values.of_etag(reply.etag))

    def put(self) -> bool:
        """Write."""
        key, data = self._quiet_key(), self._data()
        if key is None:
            return self.get()
        number = key.begin(write(self.values.add(data)))
        return self._answered(self._sent(key, number, lambda: self.client.put(key.name, data)), key, number)

    def put_if(self) -> bool:
        """Write if nothing is there, or if what was last seen is."""
        key, data = self._quiet_key(), self._data()
        if key is None:
            return self.get()
        value, etag = self.values.add(data), key.last_etag
        if etag and self._random.random() < 0.7:
            number = key.begin(write(value, self.values.of_etag(etag)))
            condition = {"if_match": f'"{etag}"'}
        else:
            number = key.begin(write(value, None))
            condition = {"if_none_match": "*"}
        return self._answered(
            self._sent(key, number, lambda: self.client.put(key.name, data, **condition)), key, number
        )

    def delete(self) -> bool:
        """Remove."""
        key = self._quiet_key()
        if key is None:
            return self.get()
        number = key.begin(write(None))
        return self._answered(self._sent(key, number, lambda: self.client.delete(key.name)), key, number)

    def delete_many(self) -> bool:
        """Remove three."""
        chosen = [key for key in self._random.sample(list(self.keys.values()), 3) if not key.is_crowded]
        if not chosen:
            return self.get()
        numbers = {key.name: key.begin(write(None)) for key in chosen}
        reply = self.client.delete_many(list(numbers))
        if reply.status >= 500:
            return False
        self._expect(reply, 200)
        for name in deleted(reply):
            self.keys[name].written(numbers[name])
        return True

    def copy(self) -> bool:
        """Copy something that nobody changes."""
        key = self._quiet_key()
        if key is None:
            return self.get()
        name, data = source(self._random.randrange(SOURCES))
        number = key.begin(write(self.values.add(data)))
        return self._answered(self._sent(key, number, lambda: self.client.copy(name, key.name)), key, number)

    def upload(self) -> bool:
        """Upload in one or two parts; now and then abort it instead."""
        key = self._quiet_key()
        if key is None:
            return self.get()
        reply = self.client.create_upload(key.name)
        if not reply.succeeded:
            return False
        upload, data = upload_id(reply), self._data()
        part = self.client.put_part(key.name, upload, 1, data)
        if not part.succeeded:
            return False
        if self._random.random() < 0.2:
            return self.client.abort(key.name, upload).status == 204
        composite = f"{md5(md5(data).digest()).hexdigest()}-1"
        number = key.begin(write(self.values.add(data, composite)))
        for _ in range(_AGAIN):
            try:
                reply = self.client.complete(key.name, upload, [part.etag])
            except NoAnswer:
                self._pause.wait(_PAUSE)
                continue
            if reply.status < 500 and (reply.succeeded or reply.code == "NoSuchUpload"):
                return self._answered(reply, key, number)
            self._pause.wait(_PAUSE)
        self.unfinished.append((key, number, upload, [part.etag]))
        return False

    def list(self) -> bool:
        """List everything: that reads every key."""
        numbers = {name: key.begin(READ) for name, key in self.keys.items()}
        try:
            reply = self.client.list("k")
            succeeded = reply.status == 200
        except NoAnswer:
            succeeded = False
        if not succeeded:
            for name, number in numbers.items():
                self.keys[name].withdraw(number)
            return False
        found = listed(reply)
        for name, number in numbers.items():
            etag: Value = found.get(name)
            self.keys[name].read(number, etag if etag is None else self.values.of_etag(etag))
        return True

    # --- what they share

    def _sent(self, key: Key, number: int, ask: Callable[[], Reply]) -> Reply:
        try:
            return ask()
        except NoAnswer as error:
            if not error.sent:
                key.withdraw(number)
            raise

    def _answered(self, reply: Reply, key: Key, number: int) -> bool:
        """Note what a write was told; whether that was clear."""
        if reply.succeeded:
            key.written(number)
        elif reply.status == 412:
            key.refused(number)
        elif reply.code == "NoSuchUpload":
            pass  # given up: whether an earlier attempt had completed it is not said
        elif reply.code == "NoSuchKey":
            key.refused(number)  # If-Match, and nothing there
        elif reply.status >= 500 or reply.status == 409:
            return False
        else:
            self._expect(reply, 200)
        return True

    def _expect(self, reply: Reply, status: int) -> None:
        if reply.status != status:
            self.wrong.append(f"{self.name}: {reply}")

    def _any_key(self) -> Key:
        return self._random.choice(list(self.keys.values()))

    def _quiet_key(self) -> Key | None:
        key = self._any_key()
        return None if key.is_crowded or key.lost else key

    def _data(self) -> bytes:
        self._made += 1
        size = _LARGE if self._random.random() < 0.02 else self._random.randrange(_MOST)
        unit = f"{self.name} {self._made} ".encode()
        return unit * (1 + size // len(unit))


_WEIGHTS: Mapping[Callable[[Player], bool], int] = {
    Player.get: 30,
    Player.put: 30,
    Player.head: 8,
    Player.put_if: 8,
    Player.delete: 8,
    Player.upload: 5,
    Player.list: 4,
    Player.copy: 4,
    Player.delete_many: 3,
}


def players(clients: Sequence[Client], keys: Mapping[str, Key], values: Values, seed: int) -> list[Player]:
    """One for each client, each with a seed of its own."""
    return [
        Player(f"player{number}", client, keys, values, seed * 1000 + number)
        for number, client in enumerate(clients)
    ]
