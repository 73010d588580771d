"""
What is known about a setting besides its type: default, meaning, rule, and whether it can change at run time.

`sections.py` declares with this, and loader, reference page, sample file and reload all read the same
declarations, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import field, frozen

from s3orchestrator.config.scalars import BOOLEAN, INTEGER, NUMBER, SECRET, TEXT, Scalar, ScalarError, Secret

_META = "s3orchestrator"


@frozen
class Check:
    """A rule for one value: `must be {rule}`."""

    rule: str
    holds: Callable[[Any], bool]


def at_least(lowest: float) -> Check:
    """`lowest` or more."""
    return Check(f"{lowest} or more", lambda value: bool(value >= lowest))


def more_than(bound: float) -> Check:
    """More than `bound`."""
    return Check(f"more than {bound}", lambda value: bool(value > bound))


def between(lowest: float, highest: float) -> Check:
    """From `lowest` to `highest`, both included."""
    return Check(f"from {lowest} to {highest}", lambda value: bool(lowest <= value <= highest))


def from_to_below(lowest: float, bound: float) -> Check:
    """From `lowest`, which is included, up to `bound`, which is not."""
    return Check(f"{lowest} or more and less than {bound}", lambda value: bool(lowest <= value < bound))


def strictly_between(low: float, high: float) -> Check:
    """Between two bounds, neither included."""
    return Check(f"more than {low} and less than {high}", lambda value: bool(low < value < high))


@frozen
class NotBuilt:
    """
    A value other than `off` asks for `feature`, which this release does not have.

    Start-up stops then, rather than ignoring what the operator counts on.
    """

    feature: str
    off: Any = False
    instead: str = ""

    def asked_for_by(self, value: Any) -> bool:
        """Whether this value would need the feature."""
        return bool(value != self.off)


@frozen
class Meta:
    """What `setting` was told."""

    doc: str
    check: Check | None = None
    reloadable: bool = False
    built: NotBuilt | None = None
    idle: str = ""
    zero_is_default: bool = False
    example: str = ""
    only_for: str = ""


def setting(
    default: Any,
    *,
    doc: str,
    check: Check | None = None,
    reloadable: bool = False,
    built: NotBuilt | None = None,
    idle: str = "",
    zero_is_default: bool = False,
    example: str = "",
    only_for: str = "",
) -> Any:
    """
    Declare a setting that may be left out.

    :param doc: what it does, in reStructuredText; a sentence or two.
    :param check: what must hold besides the type.
    :param reloadable: whether a reload can change it.
    :param built: the feature it asks for, if this release lacks it.
    :param idle: why it has no effect in this release, if so: a changed value is a warning.
    :param zero_is_default: 0, or empty text, stands for the default, as it did in older files.
    :param example: what the sample file shows, uncommented, instead of the default.
    :param only_for: the backend type it belongs to.
    """
    meta = Meta(doc, check, reloadable, built, idle, zero_is_default, example, only_for)
    return field(default=default, metadata={_META: meta})


def required(*, doc: str, example: str, check: Check | None = None, reloadable: bool = False) -> Any:
    """Declare a setting that must be there; `example` is what the sample file shows."""
    return field(metadata={_META: Meta(doc, check, reloadable, example=example)})


def section(cls: type, *, reloadable: bool = False) -> Any:
    """Declare a section that may be left out; its own settings say what is in it."""
    return field(factory=cls, metadata={_META: Meta(_first_line(cls), reloadable=reloadable)})


def several(*, doc: str, reloadable: bool = False, built: NotBuilt | None = None, example: str = "") -> Any:
    """Declare a list, empty unless given."""
    return field(default=(), metadata={_META: Meta(doc, None, reloadable, built, example=example)})


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n", 1)[0]


@frozen
class Setting:
    """
    One attribute of a section, as the loader and the documentation see it.

    Exactly one of `scalar` and `section` is set. `many` means a list of them, `optional` that it may be None.
    """

    name: str
    meta: Meta
    scalar: Scalar | None
    section: type | None
    many: bool
    optional: bool
    is_required: bool
    attribute: Any = field(repr=False)

    @property
    def secret(self) -> bool:
        """Whether the value must never be shown."""
        return self.scalar is not None and self.scalar.secret

    def default(self) -> Any:
        """
        The value where the file says nothing.

        :raises LookupError: it is required.
        """
        if self.is_required:
            raise LookupError(self.name)
        default = self.attribute.default
        return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def settings_of(cls: type) -> tuple[Setting, ...]:
    """The settings of a section, in the order they are declared."""
    return _settings_of(cls)


@cache
def _settings_of(cls: type[Any]) -> tuple[Setting, ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_setting(attribute, hints[attribute.name]) for attribute in attrs.fields(cls))


def _setting(attribute: Any, hint: Any) -> Setting:
    hint, optional = _without_none(hint)
    many = get_origin(hint) is tuple
    if many:
        hint = get_args(hint)[0]
    is_section = attrs.has(hint)
    return Setting(
        name=attribute.name,
        meta=attribute.metadata[_META],
        scalar=None if is_section else _scalar(hint),
        section=hint if is_section else None,
        many=many,
        optional=optional,
        is_required=attribute.default is attrs.NOTHING,
        attribute=attribute,
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint):
        (inner,) = (each for each in get_args(hint) if each is not NoneType)
        return inner, True
    return hint, False


_PLAIN: Mapping[Any, Scalar] = {str: TEXT, bool: BOOLEAN, int: INTEGER, float: NUMBER, Secret: SECRET}


def _scalar(hint: Any) -> Scalar:
    if get_origin(hint) is Annotated:
        scalar = hint.__metadata__[0]
        assert isinstance(scalar, Scalar)
        return scalar
    if get_origin(hint) is Literal:
        return _choice(get_args(hint))
    return _PLAIN[hint]


def _choice(words: tuple[str, ...]) -> Scalar:
    listed = ", ".join(words)

    def parse(text: str) -> str:
        if text not in words:
            raise ScalarError(f"is not one of {listed}")
        return text

    return Scalar(f"one of {listed}", parse)
