"""
Values that are made with every request.

Freezing an object of fifteen fields takes four times as long as making it, and a GET makes a dozen. These
are frozen where it counts, in the eyes of the type checker, and made like any other object at run time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from attrs import frozen as value
else:
    value = partial(define, unsafe_hash=True)

__all__ = ["value"]
