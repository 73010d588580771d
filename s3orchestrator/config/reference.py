"""The documentation of every setting, and a sample file, written from the declarations themselves."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from s3orchestrator.config.sections import Config
from s3orchestrator.config.settings import Setting, settings_of

_WIDTH = 100

_INTRODUCTION = """\
Configuration reference
=======================

One YAML file, named with ``--config``. It is checked as a whole before anything starts, and every problem is
reported with its path and line; ``s3orchestrator validate`` does only that. A key nobody knows is an error.

Values
------

Variables
   ``${NAME}`` is replaced by the environment variable, ``${NAME:-text}`` by *text* where the variable is
   unset or empty. A variable that is not set and has no default is an error. ``$$`` is one dollar; any other
   dollar is left alone, except that a value that is nothing but ``$NAME`` is an error, since it was surely
   meant to be expanded.
Durations
   A number and a unit (``ns``, ``us``, ``ms``, ``s``, ``m``, ``h``), or several: ``300ms``, ``1h30m``.
Sizes
   Bytes, or a whole number with ``KB``, ``MB``, ``GB`` or ``TB``, which are powers of 1024 (``KiB``, ``MiB``,
   ``GiB`` and ``TiB`` mean the same).
Zero
   Where 0 would make no sense, it stands for the default, as do empty text and an empty value.

*Reload* marks what can be changed without a restart: edit the file and send SIGHUP (``systemctl reload``).
Settings of features that this release does not have say so: they are accepted while the feature is off, and
switching it on is an error.

"""


def reference_page() -> str:
    """The configuration reference, as reStructuredText."""
    return _INTRODUCTION + "\n".join(_page_section(Config, "", _doc(Config))).rstrip("\n") + "\n"


def _page_section(cls: type, path: str, about: str) -> Iterator[str]:
    settings = settings_of(cls)
    title = f"``{path}``" if path else "Top level"
    yield f"{title}\n{'-' * len(title)}\n"
    yield from (*_wrapped(about), "")
    for setting in settings:
        if setting.section is None:
            yield from _page_entry(setting)
    for setting in settings:
        if setting.section is not None:
            below = f"{path}.{setting.name}" if path else setting.name
            shown = f"{below}[]" if setting.many else below
            yield from _page_section(setting.section, shown, _about(setting))


def _page_entry(setting: Setting) -> Iterator[str]:
    yield f"``{setting.name}``"
    facts = [_kind(setting), *_facts(setting)]
    text = f"*{'; '.join(facts)}.* {setting.meta.doc}{_note(setting)}"
    yield from (*_wrapped(text, "   "), "")


def _about(setting: Setting) -> str:
    """What a section is for, and for a list also what its entries are."""
    assert setting.section is not None
    doc = _doc(setting.section)
    return (f"{doc} {setting.meta.doc}" if setting.many else doc) + _note(setting)


def _doc(cls: type) -> str:
    return " ".join((cls.__doc__ or "").split())


def _kind(setting: Setting) -> str:
    assert setting.scalar is not None
    name = setting.scalar.name
    kind = f"list of {name}" if setting.many else name
    return kind[:1].upper() + kind[1:]


def _facts(setting: Setting) -> Iterator[str]:
    meta = setting.meta
    if setting.is_required:
        yield "required"
    else:
        default = _written(setting, setting.default())
        if default:
            yield f"default {default}"
    if meta.check is not None:
        yield meta.check.rule
    if meta.only_for:
        yield f"type {meta.only_for}"
    if meta.reloadable:
        yield "reload"


def _written(setting: Setting, value: Any) -> str:
    """A default as it would be in the file; nothing where there is none."""
    if value is None or setting.many or setting.secret or setting.scalar is None:
        return ""
    return setting.scalar.render(value)


def reload_table() -> str:
    """What a reload can change, section by section, as a table of the operators' guide."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 30 70", ""]
    for section, what in (("Section", "What a reload changes"), *_reloadable(Config, "")):
        first, *more = _wrapped(what, "       ")
        lines += [f"   * - {section}", f"     - {first.strip()}", *more]
    return "\n".join(lines) + "\n"


def _reloadable(cls: type, path: str) -> Iterator[tuple[str, str]]:
    settings = settings_of(cls)
    names = [setting.name for setting in settings if setting.section is None and setting.meta.reloadable]
    if names:
        own = [setting.name for setting in settings if setting.section is None]
        listed = "everything" if names == own else ", ".join(f"``{name}``" for name in names)
        yield f"``{path}``" if path else "Top level", listed
    for setting in settings:
        if setting.section is not None:
            below = f"{path}.{setting.name}" if path else setting.name
            yield from _reloadable(setting.section, f"{below}[]" if setting.many else below)


_SAMPLE_HEAD = """\
# Configuration of s3orchestrator.
#
# What is not commented out is a working example: one directory, one bucket, one user. The rest shows
# the defaults. Secrets come from the environment here (PHOTOS_SECRET and ALICE_SECRET).
# Check it with: s3orchestrator validate --config FILE
"""


def sample_file() -> str:
    """A commented file with every setting; it validates once its variables are set."""
    return _SAMPLE_HEAD + "\n".join(_sample_section(Config, "", live=True)) + "\n"


def _sample_section(cls: type, indent: str, *, live: bool) -> Iterator[str]:
    for setting in settings_of(cls):
        if setting.section is None:
            yield from _sample_entry(setting, indent, live=live)
        else:
            yield from _sample_block(setting, setting.section, indent, live=live)


def _sample_block(setting: Setting, cls: type, indent: str, *, live: bool) -> Iterator[str]:
    live = live and _is_exemplary(cls) and not setting.optional and setting.meta.built is None
    if not indent:
        yield ""
    yield from _comment(setting.meta.doc + _note(setting), indent)
    yield f"{indent}{_mark(live)}{setting.name}:"
    lines = list(_sample_section(cls, f"{indent}  ", live=live))
    if setting.many:
        lines = list(_as_entry(lines, f"{indent}  "))
    yield from lines


def _is_exemplary(cls: type) -> bool:
    """Whether the section has something that is shown in force."""
    return any(
        bool(setting.meta.example) or (setting.section is not None and _is_exemplary(setting.section))
        for setting in settings_of(cls)
        if setting.meta.built is None and not setting.optional
    )


def _as_entry(lines: list[str], indent: str) -> Iterator[str]:
    """Indent once more, with the dash before the first key that is in force, else before the first key."""
    shifted = [f"  {line}" if line else line for line in lines]
    keys = [index for index, line in enumerate(shifted) if not line.lstrip().startswith("# ")]
    first = next((i for i in keys if not shifted[i].lstrip().startswith("#")), keys[0])
    line = shifted[first]
    if line.lstrip().startswith("#"):
        dashed = f"{indent}#- {line.lstrip()[1:]}"
    else:
        dashed = f"{indent}- {line.lstrip()}"
    yield from (*shifted[:first], dashed, *shifted[first + 1 :])


def _sample_entry(setting: Setting, indent: str, *, live: bool) -> Iterator[str]:
    example = setting.meta.example
    live = live and bool(example) and setting.meta.built is None
    if not indent:
        yield ""
    yield from _comment(setting.meta.doc + _note(setting), indent)
    value = example or _written(setting, setting.default()) or ("[]" if setting.many else '""')
    if setting.optional:
        value = ""
    yield f"{indent}{_mark(live)}{setting.name}: {value}".rstrip()


def _note(setting: Setting) -> str:
    """What this release does not have of it."""
    if setting.meta.built is not None:
        return f" (Not in this release: {setting.meta.built.feature}.)"
    return f" (No effect: {setting.meta.idle}.)" if setting.meta.idle else ""


def _mark(live: bool) -> str:
    """Commented-out settings have no space after the mark, text has one."""
    return "" if live else "#"


def _comment(text: str, indent: str) -> list[str]:
    return _wrapped(text.replace("``", ""), f"{indent}# ")


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
