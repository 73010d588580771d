"""
What a key may hold, as far as its clients can know: a linearizable register.

Clients overlap, and some never hear what became of what they asked. Whatever they do hear
must be explained by one order of all calls in which each takes effect at one moment between
its beginning and its end; a call without an answer may do so at any later moment, or never.

The search goes along with the history instead of over it: at any moment there is a small set
of `_Possible` pasts. An answer removes those that cannot explain it, and when none is left,
nothing can. Their number grows with the calls that are pending at once, so what will never be
answered is to be settled when nobody can be working on it any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, evolve, field, frozen

Value = str | None  # None: there is no object


class Any(Enum):
    """The condition of a call without one."""

    VALUE = "whatever is there"


class Kind(Enum):
    """What a call does."""

    READ = "read"
    WRITE = "write"


@frozen
class Call:
    """A read, or a write of `value` (None deletes) that happens only if `only_if` is there."""

    kind: Kind
    value: Value = None
    only_if: Value | Any = Any.VALUE

    def applies_to(self, held: Value) -> bool:
        """Whether it changes a register that holds this."""
        return self.kind is Kind.WRITE and self.only_if in (Any.VALUE, held)


READ = Call(Kind.READ)


def write(value: Value, only_if: Value | Any = Any.VALUE) -> Call:
    """Return a write; of None, a delete."""
    return Call(Kind.WRITE, value, only_if)


class Impossible(Exception):
    """No order of the calls explains what was answered: something was lost, or came back."""


@frozen
class _Possible:
    """
    One past that explains everything so far.

    `done`: calls not yet answered that have taken effect. `seen`: for each call that waits for what it
    saw, what the register has held since it began.
    """

    value: Value
    done: frozenset[int] = frozenset()
    seen: frozenset[tuple[int, Value]] = frozenset()

    def after(self, number: int, call: Call, watching: Iterable[int]) -> _Possible:
        """This past, and then a call that applies."""
        seen = {(watcher, call.value) for watcher in watching}
        return _Possible(call.value, self.done | {number}, self.seen | seen)

    def without(self, number: int) -> _Possible:
        """This past, with nothing more to be asked about a call."""
        return evolve(
            self, done=self.done - {number}, seen=frozenset(pair for pair in self.seen if pair[0] != number)
        )


@define(eq=False)
class Register:
    """The possible pasts of one key. Calls are told in the order in which they begin and end."""

    initial: Value = None
    _possible: set[_Possible] = field(init=False)
    _pending: dict[int, Call] = field(init=False, factory=dict)
    _begun: int = field(init=False, default=0)
    _ever: set[Value] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._possible = {_Possible(self.initial)}
        self._ever = {self.initial}

    @property
    def pending(self) -> int:
        """How many calls have not been answered, withdrawn or settled."""
        return len(self._pending)

    def values(self) -> set[Value]:
        """What may be there now."""
        return {past.value for past in self._reachable()}

    def begin(self, call: Call) -> int:
        """A call leaves its client; returns the number by which it is known."""
        self._begun += 1
        number = self._begun
        self._pending[number] = call
        if call.kind is Kind.WRITE:
            self._ever.add(call.value)
        if _watches(call):
            self._possible = {
                evolve(past, seen=past.seen | {(number, past.value)}) for past in self._possible
            }
        return number

    def read(self, number: int, value: Value) -> None:
        """:raises Impossible: a read cannot have seen this."""
        self._answer(number, [past for past in self._reachable() if (number, value) in past.seen], value)

    def glimpsed(self, number: int, value: Value) -> None:
        """
        A read was answered without the ledger: by what may have been deleted or replaced since, or refused.

        Nothing follows from it, but it must once have been written; and what is there must not be missing.

        :raises Impossible: it cannot have seen this.
        """
        possible = self._possible if value is not None else self._reachable()
        seen = [past for past in possible if value is not None or (number, value) in past.seen]
        if value not in self._ever or not seen:
            self._answer(number, [], value)
        self._answer(number, self._possible, value)

    def written(self, number: int) -> None:
        """:raises Impossible: a write that was acknowledged cannot have happened."""
        self._answer(number, [past for past in self._reachable() if number in past.done], "done")

    def refused(self, number: int) -> None:
        """
        A write says that its condition did not hold.

        :raises Impossible: it must have.
        """
        wanted = self._pending[number].only_if
        self._answer(
            number,
            [
                past
                for past in self._reachable()
                if number not in past.done
                and any(who == number and value != wanted for who, value in past.seen)
            ],
            "refused",
        )

    def withdraw(self, number: int) -> None:
        """A call never reached anybody."""
        self._answer(number, [past for past in self._possible if number not in past.done], "withdrawn")

    def settle(self) -> None:
        """What is pending has happened by now, or never will: nobody is working on it any more."""
        reachable = self._reachable()
        self._pending.clear()
        self._possible = {_Possible(past.value) for past in reachable}

    def _answer(self, number: int, left: Iterable[_Possible], answer: object) -> None:
        call = self._pending.pop(number)
        possible = {past.without(number) for past in left}
        if not possible:
            held = sorted(map(str, {past.value for past in self._possible}))
            raise Impossible(f"{call} was answered {answer!r}, where there may have been {held}")
        self._possible = possible

    def _reachable(self) -> set[_Possible]:
        """The possible pasts, each with any of the pending writes after it, in any order."""
        writes = [(number, call) for number, call in self._pending.items() if call.kind is Kind.WRITE]
        watching = [number for number, call in self._pending.items() if _watches(call)]
        found, new = set(self._possible), list(self._possible)
        while new:
            past = new.pop()
            for number, call in writes:
                if number in past.done or not call.applies_to(past.value):
                    continue
                later = past.after(number, call, watching)
                if later not in found:
                    found.add(later)
                    new.append(later)
        return found


def _watches(call: Call) -> bool:
    """Whether its answer tells what was there."""
    return call.kind is Kind.READ or call.only_if is not Any.VALUE
