"""The settings in force, what a new file would change in them, and what of that needs a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from attrs import define, evolve, field, frozen

from s3orchestrator.config.sections import Config
from s3orchestrator.config.settings import Setting, settings_of

T = TypeVar("T")
U = TypeVar("U")


@frozen
class Live(Generic[T]):
    """Settings as they are now: components keep one of these and read `now` each time."""

    _read: Callable[[], T]

    @property
    def now(self) -> T:
        """The settings in force at this moment."""
        return self._read()

    def part(self, choose: Callable[[T], U]) -> Live[U]:
        """A view of something inside: `live.part(lambda config: config.rebalance)`."""
        return Live(lambda: choose(self._read()))

    def derived(self, make: Callable[[T], U]) -> Live[U]:
        """Something that takes work to make of the settings: made once, and anew when they have changed."""
        return Live(_Made(self._read, make).now)


@define(eq=False)
class _Made(Generic[T, U]):
    """What was made of the settings, and of which."""

    _read: Callable[[], T]
    _make: Callable[[T], U]
    _kept: tuple[T, U] | None = field(default=None, init=False)

    def now(self) -> U:
        settings = self._read()
        if self._kept is None or self._kept[0] is not settings:
            self._kept = settings, self._make(settings)
        return self._kept[1]


@frozen
class Changes:
    """
    What differs between two configurations, as paths.

    Entries of `backends` are found by name; the index in a path is the one of the new file, or of the old one
    where an entry is gone.
    """

    reloadable: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


@frozen
class Attempt:
    """
    A file that was read while we ran, and what came of it.

    `at` is Unix time. With `errors` nothing was taken over, and nothing is said of changes.
    """

    at: float
    changes: Changes = Changes()
    errors: tuple[str, ...] = ()


@define(eq=False)
class InForce:
    """
    Holds the configuration a process runs with.

    `generation` counts the configurations there have been, the first included; `last` is the latest
    attempt at another.
    """

    config: Config
    generation: int = field(default=1, init=False)
    last: Attempt | None = field(default=None, init=False)

    @property
    def live(self) -> Live[Config]:
        """The configuration in force, whatever it will be by then."""
        return Live(lambda: self.config)

    def reload(self, new: Config, at: float) -> Changes:
        """
        Take over, in one step, what can change at run time; the rest stays as it is.

        :returns: what has changed, and what the new file wants but only a restart gives.
        """
        changes = difference(self.config, new)
        self.config = merged(self.config, new)
        self.generation += 1
        self.last = Attempt(at, changes)
        return changes

    def keep(self, errors: Iterable[str], at: float) -> None:
        """Stay with what there is: another cannot be used, for these reasons."""
        self.last = Attempt(at, errors=tuple(errors))


def difference(old: Config, new: Config) -> Changes:
    """Compare every leaf of two configurations."""
    found = list(_section_changes(old, new, ""))
    return Changes(
        reloadable=tuple(path for path, reloadable in found if reloadable),
        needs_restart=tuple(path for path, reloadable in found if not reloadable),
    )


def merged(old: Config, new: Config) -> Config:
    """`old` with the reloadable settings of `new`."""
    result: Config = _merged_section(old, new)
    return result


def _section_changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, bool]]:
    for setting in settings_of(type(new)):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        if before != after:
            below = f"{path}.{setting.name}" if path else setting.name
            yield from _setting_changes(setting, before, after, below)


def _setting_changes(setting: Setting, old: Any, new: Any, path: str) -> Iterator[tuple[str, bool]]:
    if setting.section is None or old is None or new is None:
        yield path, setting.meta.reloadable
    elif not setting.many:
        yield from _section_changes(old, new, path)
    elif setting.meta.reloadable:
        yield from _list_changes(old, new, path)
    elif _are_named(setting):
        yield from _named_changes(old, new, path)
    else:
        yield path, False


def _list_changes(old: tuple[Any, ...], new: tuple[Any, ...], path: str) -> Iterator[tuple[str, bool]]:
    """Of a list that is replaced as a whole: the entries that differ, or the list if their number does."""
    if len(old) != len(new):
        yield path, True
        return
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        yield from _section_changes(before, after, f"{path}[{index}]")


def _named_changes(old: tuple[Any, ...], new: tuple[Any, ...], path: str) -> Iterator[tuple[str, bool]]:
    before = {entry.name: entry for entry in old}
    after = {entry.name: entry for entry in new}
    for index, entry in enumerate(old):
        if entry.name not in after:
            yield f"{path}[{index}]", False
    for index, entry in enumerate(new):
        if entry.name not in before:
            yield f"{path}[{index}]", False
        else:
            yield from _section_changes(before[entry.name], entry, f"{path}[{index}]")
    if set(before) == set(after) and list(before) != list(after):
        yield path, False  # their order is the order they are filled in


def _merged_section(old: Any, new: Any) -> Any:
    return evolve(
        old,
        **{
            setting.name: _merged_setting(setting, getattr(old, setting.name), getattr(new, setting.name))
            for setting in settings_of(type(old))
        },
    )


def _merged_setting(setting: Setting, old: Any, new: Any) -> Any:
    if setting.section is None or setting.many or old is None or new is None:
        if (
            setting.section is not None
            and setting.many
            and _are_named(setting)
            and not setting.meta.reloadable
        ):
            by_name = {entry.name: entry for entry in new}
            return tuple(
                _merged_section(entry, by_name[entry.name]) if entry.name in by_name else entry
                for entry in old
            )
        return new if setting.meta.reloadable else old
    return _merged_section(old, new)


def _are_named(setting: Setting) -> bool:
    assert setting.section is not None
    return any(inner.name == "name" for inner in settings_of(setting.section))
