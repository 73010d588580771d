"""Tests for the register: it accepts what can be explained, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.register import READ, Any, Call, Impossible, Kind, Register, Value, write

VALUES: list[Value] = [None, "a", "b", "c"]


class RegisterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.register = Register()

    def wrote(self, value: Value) -> None:
        self.register.written(self.register.begin(write(value)))

    def reads(self, value: Value) -> None:
        self.register.read(self.register.begin(READ), value)

    def test_last_write(self) -> None:
        """What was acknowledged is read, and what it has replaced is not."""
        self.wrote("a")
        self.wrote("b")
        self.reads("b")
        with self.assertRaises(Impossible):
            self.reads("a")

    def test_lost(self) -> None:
        """An acknowledged write that is gone is noticed."""
        self.wrote("a")
        with self.assertRaises(Impossible):
            self.reads(None)

    def test_resurrected(self) -> None:
        """So is a deleted one that comes back."""
        self.wrote("a")
        self.wrote(None)
        with self.assertRaises(Impossible):
            self.reads("a")

    def test_unanswered(self) -> None:
        """A write without an answer happens at any time, but once; and then it has happened."""
        self.wrote("a")
        self.register.begin(write("b"))
        self.reads("a")
        self.reads("b")
        with self.assertRaises(Impossible):
            self.reads("a")

    def test_glimpsed(self) -> None:
        """Without the ledger what was deleted may be seen, and nothing follows; but not what never was."""
        self.wrote("a")
        self.wrote(None)
        self.register.glimpsed(self.register.begin(READ), "a")
        self.register.glimpsed(self.register.begin(READ), None)
        self.assertEqual(self.register.values(), {None})
        with self.assertRaises(Impossible):
            self.register.glimpsed(self.register.begin(READ), "b")

    def test_glimpsed_missing(self) -> None:
        """What is there for sure is not missing, ledger or not."""
        self.wrote("a")
        with self.assertRaises(Impossible):
            self.register.glimpsed(self.register.begin(READ), None)

    def test_settled(self) -> None:
        """Once settled it has happened or not."""
        self.wrote("a")
        self.register.begin(write("b"))
        self.register.settle()
        self.assertEqual(self.register.values(), {"a", "b"})
        self.reads("a")
        with self.assertRaises(Impossible):
            self.reads("b")

    def test_withdrawn(self) -> None:
        """What nobody heard of has not happened."""
        self.register.withdraw(self.register.begin(write("b")))
        self.assertEqual(self.register.values(), {None})

    def test_overlapping_read(self) -> None:
        """A read that began before a write ended may see what was there before."""
        self.wrote("a")
        reading = self.register.begin(READ)
        self.wrote("b")
        self.register.read(reading, "a")
        self.reads("b")

    def test_first_writer(self) -> None:
        """Of two who must be first, one is."""
        one, two = (self.register.begin(write(value, None)) for value in "ab")
        self.register.written(one)
        self.register.refused(two)
        self.reads("a")
        again = self.register.begin(write("c", None))
        with self.assertRaises(Impossible):
            self.register.written(again)

    def test_refused_without_reason(self) -> None:
        """A condition that held all the time cannot be refused."""
        self.wrote("a")
        number = self.register.begin(write("b", "a"))
        with self.assertRaises(Impossible):
            self.register.refused(number)


@frozen
class Lived:
    """A call of a history: when it began and ended (None: never), and what it was told."""

    call: Call
    begun: int
    ended: int | None
    answer: Value | bool


def tell(history: Sequence[Lived]) -> bool:
    """Whether the register accepts a history."""
    register = Register()
    moments = sorted(
        [(lived.begun, 0, lived) for lived in history]
        + [(lived.ended, 1, lived) for lived in history if lived.ended is not None],
        key=lambda moment: moment[:2],
    )
    numbers: dict[int, int] = {}
    try:
        for _, ends, lived in moments:
            if not ends:
                numbers[id(lived)] = register.begin(lived.call)
            elif lived.call.kind is Kind.READ:
                register.read(numbers[id(lived)], lived.answer)  # type: ignore[arg-type]
            elif lived.answer:
                register.written(numbers[id(lived)])
            else:
                register.refused(numbers[id(lived)])
    except Impossible:
        return False
    return True


def can_be_explained(history: Sequence[Lived]) -> bool:
    """The same, by trying every order."""
    answered = [lived for lived in history if lived.ended is not None]
    unanswered = [lived for lived in history if lived.ended is None and lived.call.kind is Kind.WRITE]
    return any(
        _explains(order)
        for chosen in _subsets(unanswered)
        for order in permutations([*answered, *chosen])
        if _in_time(order)
    )


def _subsets(items: Sequence[Lived]) -> Iterator[list[Lived]]:
    for bits in range(1 << len(items)):
        yield [item for number, item in enumerate(items) if bits >> number & 1]


def _in_time(order: Sequence[Lived]) -> bool:
    return not any(
        later.ended is not None and later.ended < earlier.begun
        for number, earlier in enumerate(order)
        for later in order[number + 1 :]
    )


def _explains(order: Sequence[Lived]) -> bool:
    held: Value = None
    for lived in order:
        if lived.call.kind is Kind.READ:
            if lived.answer != held:
                return False
        elif lived.call.applies_to(held):
            if lived.ended is not None and not lived.answer:
                return False
            held = lived.call.value
        elif lived.ended is not None and lived.answer:
            return False
    return True


@define
class Sequential:
    """A register that really is one: calls take effect at a moment of their own."""

    held: Value = None
    log: list[Value] = field(factory=list)

    def apply(self, call: Call) -> Value | bool:
        if call.kind is Kind.READ:
            return self.held
        if not call.applies_to(self.held):
            return False
        self.held = call.value
        return True


calls = st.one_of(
    st.just(READ),
    st.builds(write, st.sampled_from(VALUES)),
    st.builds(write, st.sampled_from(VALUES[1:]), st.sampled_from([Any.VALUE, *VALUES])),
)


@st.composite
def happened(draw: st.DrawFn, most: int = 12) -> list[Lived]:
    """A history of a real register: each call has an interval, and takes effect at a moment inside."""
    asked = draw(
        st.lists(
            st.tuples(calls, st.integers(0, 60), st.integers(0, 8), st.integers(0, 8), st.booleans()),
            max_size=most,
        )
    )
    effects = sorted(
        ((begun + wait, number) for number, (_, begun, wait, _, _) in enumerate(asked)),
    )
    register, answers = Sequential(), {}
    for _, number in effects:
        answers[number] = register.apply(asked[number][0])
    # Twice as fine, so that no two calls end and begin at the same moment in the wrong order.
    return [
        Lived(
            call,
            2 * begun,
            2 * (begun + wait + rest) + 1 if heard else None,
            answers[number],
        )
        for number, (call, begun, wait, rest, heard) in enumerate(asked)
    ]


@st.composite
def invented(draw: st.DrawFn) -> list[Lived]:
    """A history that may be impossible."""
    history = []
    for call in draw(st.lists(calls, max_size=5)):
        begun = draw(st.integers(0, 12))
        ended = draw(st.none() | st.integers(begun, 13))
        answer: Value | bool = draw(st.sampled_from(VALUES) if call.kind is Kind.READ else st.booleans())
        if call.kind is Kind.WRITE and call.only_if is Any.VALUE:
            answer = True
        history.append(Lived(call, 2 * begun, None if ended is None else 2 * ended + 1, answer))
    return history


class HistoryTests(SynchronousTestCase):
    @given(happened())
    def test_real(self, history: list[Lived]) -> None:
        """What a register did is accepted."""
        self.assertTrue(tell(history))

    @given(happened(), st.data())
    def test_never_written(self, history: list[Lived], data: st.DataObject) -> None:
        """A value that nobody wrote is refused, whoever reads it."""
        reads = [lived for lived in history if lived.call is READ and lived.ended is not None]
        if not reads:
            return
        victim = data.draw(st.sampled_from(reads))
        history[history.index(victim)] = Lived(READ, victim.begun, victim.ended, "never")
        self.assertFalse(tell(history))

    @settings(max_examples=300)
    @given(invented())
    def test_every_order(self, history: list[Lived]) -> None:
        """It says what trying every order says."""
        self.assertEqual(tell(history), can_be_explained(history))
