"""
When a process that has ended is replaced, and when that is given up.

Pure: time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

LONG_ENOUGH = 10.0  # seconds of serving, after which an end is an accident and no habit
LONGEST = 30.0  # seconds between two attempts
GIVEN_UP = 5  # ends in a row, none of them after it had served; some seconds all together
_FIRST = 0.1


@frozen
class Restarts:
    """How one of several processes fares that are kept going."""

    in_a_row: int = 0  # ends that came soon
    in_vain: int = 0  # the last of them before it had served at all

    def after(self, served: float | None) -> Restarts:
        """Return how it stands after another end; `served` is for how long, None if it never did."""
        if served is None:
            return Restarts(self.in_a_row + 1, self.in_vain + 1)
        return Restarts(self.in_a_row + 1 if served < LONG_ENOUGH else 1)

    @property
    def delay(self) -> float:
        """How long to wait until the next attempt: not at all after the first end."""
        if self.in_a_row <= 1:
            return 0.0
        return min(_FIRST * 2.0 ** min(self.in_a_row - 2, 20), LONGEST)


def are_hopeless(all_of_them: Sequence[Restarts], serving: int) -> bool:
    """Tell whether nobody serves and none of the processes can be started any more."""
    return not serving and all(one.in_vain >= GIVEN_UP for one in all_of_them)
