"""
From a file to settings: every problem at once, each with the path of the key and what to do about it.

The steps are YAML to a plain tree (`document`), tree to sections by declared type (here), and what concerns
several keys at a time (`rules`). A value that cannot be read is replaced by its default meanwhile, so that
the rest is still looked at; rules that rest on such a value keep quiet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attrs import define, evolve, frozen

from s3orchestrator.config import rules
from s3orchestrator.config.document import MAX_BYTES, Block, Items, Node, Text, parse
from s3orchestrator.config.files import open_file
from s3orchestrator.config.problems import ConfigErrors, Problem, Problems
from s3orchestrator.config.scalars import ScalarError, expand
from s3orchestrator.config.sections import Config
from s3orchestrator.config.settings import NotBuilt, Setting, settings_of

_SHOWN = 60  # characters of a value in a message


@frozen
class Loaded:
    """A usable configuration, and what its author may want to know."""

    config: Config
    warnings: tuple[Problem, ...] = ()


def load(
    source: str | os.PathLike[str],
    environ: Mapping[str, str],
    *,
    mode: str | None = None,
    may_wait: bool = True,
) -> Loaded:
    """
    Read a configuration.

    :param source: the text itself, or the path (not a `str`) of a file.
    :param environ: for `${NAME}`.
    :param mode: replaces the file's `mode`, as a command line option does.
    :param may_wait: a pipe is read as well, however long its writer takes.
    :raises ConfigErrors: it cannot be used; the exception has every reason.
    """
    problems = Problems()
    text = source if isinstance(source, str) else _read(Path(source), may_wait=may_wait)
    root = parse(text, problems)
    if problems.errors and root is None:
        raise ConfigErrors(problems.errors)
    if mode is not None:
        root = _with_mode(root, mode)
    config: Config = _Reader(environ, problems).section(Config, root, "")
    config = _with_backend_names(config)
    rules.check(config, problems)
    if problems.errors:
        raise ConfigErrors(sorted(problems.errors, key=lambda problem: problem.line or 0))
    return Loaded(config, tuple(problems.warnings))


def glance(path: Path, environ: Mapping[str, str]) -> tuple[Config, Problems]:
    """
    Read what can be read of a file, for a command that needs but a few settings of it.

    What is wrong, such as a variable that is not set where the command runs, is in the problems by
    its path, and defaults stand for it; no rule between settings is applied.

    :raises ConfigErrors: nothing of it can be read.
    """
    problems = Problems()
    root = parse(_read(path), problems)
    if problems.errors and root is None:
        raise ConfigErrors(problems.errors)
    config: Config = _Reader(environ, problems).section(Config, root, "")
    return config, problems


def _read(path: Path, *, may_wait: bool = True) -> str:
    """
    The file's text; what is too large is cut just above the limit, and refused later.

    :raises ConfigErrors: it cannot be read.
    """
    try:
        with path.open("rb") if may_wait else open_file(path) as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except FileNotFoundError:
        reason = "there is no such file: name one with --config, or write one with `s3orchestrator init`"
    except PermissionError:
        reason = "may not be read by this user: check its owner and mode"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text (at byte {error.start})"
    raise ConfigErrors([Problem(str(path), reason)])


def _with_mode(root: Block | None, mode: str) -> Block:
    entries = dict(root.entries) if root else {}
    line = root.line if root else 1
    entries["mode"] = Text(mode.replace("$", "$$"), line)
    return Block(entries, line)


def _with_backend_names(config: Config) -> Config:
    """Name the nameless by their place, counted from 0, as older files rely on."""
    return evolve(
        config,
        backends=tuple(
            backend if backend.name else evolve(backend, name=f"backend-{index}")
            for index, backend in enumerate(config.backends)
        ),
    )


@define
class _Reader:
    """Reads sections by their declarations."""

    _environ: Mapping[str, str]
    _problems: Problems

    def section(self, cls: type, block: Block | None, path: str) -> Any:
        entries = block.entries if block else {}
        settings = settings_of(cls)
        known = [setting.name for setting in settings]
        for key in entries:
            if key not in known:
                self._problems.error(_below(path, key), _unknown(key, known))
        values = {
            setting.name: self._setting(setting, entries.get(setting.name), _below(path, setting.name))
            for setting in settings
        }
        return cls(**values)

    def _setting(self, setting: Setting, node: Node, path: str) -> Any:
        if node is not None:
            self._problems.lines.setdefault(path, node.line)
        if setting.many:
            value = self._list(setting, node, path)
        elif node is None:
            return self._absent(setting, path)
        else:
            value = self._one(setting, node, path)
        self._ask_whether_built(setting, value, node, path)
        return value

    def _absent(self, setting: Setting, path: str) -> Any:
        if setting.section is not None:
            return None if setting.optional else self.section(setting.section, None, path)
        if setting.is_required:
            self._problems.error(path, f"is required: {_how_to_write(setting)}")
        return _fallback(setting)

    def _list(self, setting: Setting, node: Node, path: str) -> tuple[Any, ...]:
        if node is None:
            return ()
        if not isinstance(node, Items):
            self._problems.error(path, "must be a list: write each entry on a line of its own, after a dash")
            return ()
        return tuple(self._entry(setting, item, f"{path}[{index}]") for index, item in enumerate(node.items))

    def _entry(self, setting: Setting, node: Node, path: str) -> Any:
        if node is None:
            self._problems.error(path, "is empty: fill it in or remove it")
            return _fallback(setting) if setting.section is None else self._silently(setting.section)
        self._problems.lines.setdefault(path, node.line)
        return self._one(setting, node, path)

    def _one(self, setting: Setting, node: Node, path: str) -> Any:
        if setting.section is not None:
            if isinstance(node, Block):
                return self.section(setting.section, node, path)
            self._problems.error(path, "must be a block of keys, such as " + _example_key(setting.section))
            return self._silently(setting.section)
        if not isinstance(node, Text):
            self._problems.error(path, "must be a single value, not a list or a block")
            return _fallback(setting)
        return self._scalar(setting, node, path)

    def _silently(self, cls: type) -> Any:
        """A section made of nothing, its faults not reported, to stand in for one that could not be read."""
        return _Reader(self._environ, Problems()).section(cls, None, "")

    def _scalar(self, setting: Setting, node: Text, path: str) -> Any:
        assert setting.scalar is not None
        shown = _quoted(setting, node.text)
        try:
            text = expand(node.text, self._environ)
            if "${" in node.text:
                shown += " as expanded"
            value = self._parsed(setting, text)
        except ScalarError as error:
            self._problems.error(path, f"{shown if error.show else 'the value (not shown)'} {error}")
            return _fallback(setting)
        check = setting.meta.check
        if check is not None and not check.holds(value):
            self._problems.error(path, f"{shown} must be {check.rule}")
        return value

    def _parsed(self, setting: Setting, text: str) -> Any:
        assert setting.scalar is not None
        if setting.is_required and not text:
            raise ScalarError(f"is empty: {_how_to_write(setting)}")
        if setting.meta.zero_is_default and not text:
            return setting.default()
        value = setting.scalar.parse(text)
        return setting.default() if setting.meta.zero_is_default and not value else value

    def _ask_whether_built(self, setting: Setting, value: Any, node: Node, path: str) -> None:
        if node is None or self._problems.is_bad(path):
            return
        built = setting.meta.built
        if built is not None and built.asked_for_by(value):
            self._problems.refuse(path, _not_built(setting, built, node))
        if setting.meta.idle and value != setting.default():
            self._problems.warn(path, f"{_quoted_node(setting, node)}has no effect: {setting.meta.idle}")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _fallback(setting: Setting) -> Any:
    """What stands in for a value that is missing or wrong, until all problems are known."""
    if not setting.is_required and not setting.many:
        return setting.default()
    return ""


def _quoted(setting: Setting, text: str) -> str:
    """The value as it is in the file, before variables are put in; secrets are not shown."""
    if setting.secret:
        return "the value (not shown)"
    return f'"{text[:_SHOWN]}…"' if len(text) > _SHOWN else f'"{text}"'


def _quoted_node(setting: Setting, node: Node) -> str:
    return f"{_quoted(setting, node.text)} " if isinstance(node, Text) and not setting.secret else ""


def _unknown(key: str, known: list[str]) -> str:
    elsewhere = [path for path in _all_paths(Config, "") if path.rsplit(".", 1)[-1] == key]
    if len(elsewhere) == 1:
        return f"there is no such key here; did you mean {elsewhere[0]}?"
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    if near:
        return f"there is no such key; did you mean {near[0]}?"
    return f"there is no such key; the ones here are {', '.join(known)}"


def _all_paths(cls: type, path: str) -> list[str]:
    paths = []
    for setting in settings_of(cls):
        below = _below(path, setting.name)
        paths.append(below)
        if setting.section is not None:
            paths.extend(_all_paths(setting.section, f"{below}[]" if setting.many else below))
    return paths


def _how_to_write(setting: Setting) -> str:
    return f"write {setting.name}: {setting.meta.example}" if setting.meta.example else "give it a value"


def _example_key(cls: type) -> str:
    first = settings_of(cls)[0]
    return f"{first.name}: {first.meta.example or '…'}"


def _not_built(setting: Setting, built: NotBuilt, node: Node) -> str:
    off = setting.scalar.render(built.off) if setting.scalar and not built.instead else ""
    instead = built.instead or f"set it to {off}, or remove the key"
    return (
        f"{_quoted_node(setting, node)}asks for {built.feature}, which this release does not have: {instead}"
    )
