"""When something that failed is tried again, and when it is given up."""

from __future__ import annotations

MAX_ATTEMPTS = 10  # the seed's promise to operators: the tenth failure is theirs to decide
_FIRST_MS = 60_000
_LONGEST_MS = 24 * 3_600_000


def delay_ms(attempts: int) -> int:
    """
    Return how long to wait after `attempts` failed attempts: 1, 2, 4 … minutes, at most a day.

    No attempt counts as one failed: what was not counted waits as well.
    """
    doublings = min(max(attempts - 1, 0), 11)  # 2 ** 11 minutes are more than a day
    return min(_FIRST_MS << doublings, _LONGEST_MS)


def is_given_up(attempts: int) -> bool:
    """Tell whether nobody but an operator may try again."""
    return attempts >= MAX_ATTEMPTS
