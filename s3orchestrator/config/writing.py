"""Settings back to a file: what differs from the defaults, and reads as the same settings again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from s3orchestrator.config.scalars import escape
from s3orchestrator.config.sections import Config
from s3orchestrator.config.settings import Setting, settings_of

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def document(config: Config, *, dollars: Callable[[str], str] = escape) -> str:
    """
    The YAML file, secrets included.

    :param dollars: what to do with text that may hold a `$`; doubled, it stands for itself.
    """
    return "\n".join(_section(config, "", dollars)).lstrip("\n") + "\n"


def _section(section: Any, indent: str, dollars: Callable[[str], str]) -> Iterator[str]:
    for setting in settings_of(type(section)):
        value = getattr(section, setting.name)
        if value is None or (not setting.is_required and value == _default(setting)):
            continue
        if not indent:
            yield ""
        if setting.many:
            yield f"{indent}{setting.name}:"
            for entry in value:
                yield from _entry(setting, entry, f"{indent}  ", dollars)
        elif setting.section is not None:
            yield f"{indent}{setting.name}:"
            yield from _section(value, f"{indent}  ", dollars)
        else:
            yield f"{indent}{setting.name}: {_scalar(setting, value, dollars)}"


def _default(setting: Setting) -> Any:
    """The default; of a section with required settings there is none."""
    try:
        return setting.default()
    except TypeError:
        return None


def _entry(setting: Setting, entry: Any, indent: str, dollars: Callable[[str], str]) -> Iterator[str]:
    if setting.section is None:
        yield f"{indent}- {_scalar(setting, entry, dollars)}"
        return
    first, *rest = _section(entry, f"{indent}  ", dollars)
    yield f"{indent}- {first.lstrip()}"
    yield from rest


def _scalar(setting: Setting, value: Any, dollars: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return quoted(dollars(value))
    assert setting.scalar is not None
    return setting.scalar.render(value)


def quoted(text: str) -> str:
    """A YAML scalar in double quotes, whatever is in the text."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    return character if character.isprintable() else f"\\U{ord(character):08X}"
