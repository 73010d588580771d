"""
YAML text to a plain tree: text, lists and blocks, each with its line.

Nothing is guessed about scalars, keys given twice are errors, and size, depth and aliases are bounded, so
that no file can do worse than be refused.
"""

from __future__ import annotations

from typing import Any

import yaml
from attrs import define, field, frozen

from s3orchestrator.config.problems import Problems

MAX_BYTES = 1 << 20  # a thousand buckets with ten credentials each fit
MAX_DEPTH = 32

_PREFIX = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_PREFIX}null", f"{_PREFIX}merge"
_SCALARS = {f"{_PREFIX}{name}" for name in ("str", "int", "float", "bool", "timestamp")}


@frozen
class Text:
    """A scalar, as it is written."""

    text: str
    line: int


@frozen
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@frozen
class Block:
    """Keys and values."""

    entries: dict[str, Node]
    line: int


Node = Text | Items | Block | None
"""None is a value left empty, `~` or `null`."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Knows null and `<<`; every other scalar is text."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parse(text: str, problems: Problems) -> Block | None:
    """The document's root, or None where the file is empty or `problems` says why there is none."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        problems.error("", f"the file is larger than {MAX_BYTES >> 20} MiB, which no configuration should be")
        return None
    try:
        if not _is_shallow(text):
            problems.error("", f"blocks and lists are nested more than {MAX_DEPTH} deep")
            return None
        root = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        problems.error("", _describe(error) + _hint(error, text))
        return None
    tree = _Tree(problems).node(root, "")
    if isinstance(tree, Block) or tree is None:
        return tree
    problems.error("", "the file must hold keys and values, such as server: and buckets:")
    return None


def _is_shallow(text: str) -> bool:
    """Whether composing will not run out of stack; the scanner underneath does not recurse."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


def _describe(error: yaml.YAMLError) -> str:
    """What and where, without the line's content, which may hold a secret."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        context = f" {error.context}" if error.context else ""
        return f"{where}not valid YAML: {error.problem}{context}"
    if isinstance(error, yaml.reader.ReaderError):
        return "not valid YAML: it holds a control character"
    return "not valid YAML"


def _hint(error: yaml.YAMLError, text: str) -> str:
    """Older files could have `{key: ${NAME}}`, since they were expanded before they were parsed."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return ""
    at = error.problem_mark.line
    if "flow" in (error.context or "") and any("${" in line for line in text.splitlines()[at : at + 1]):
        return '; between braces or brackets, ${NAME} must be in quotes: "${NAME}"'
    return ""


@define
class _Tree:
    """Turns composed nodes into ours; shared ones (aliases) once, so that they cannot explode."""

    _problems: Problems
    _done: dict[int, Node] = field(factory=dict)
    _open: set[int] = field(factory=set)

    def node(self, node: Any, path: str) -> Node:
        if node is None:
            return None
        if id(node) in self._open:
            self._problems.error(path, "refers to itself")
            return None
        if id(node) not in self._done:
            self._open.add(id(node))
            self._done[id(node)] = self._convert(node, path)
            self._open.remove(id(node))
        return self._done[id(node)]

    def _convert(self, node: Any, path: str) -> Node:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._block(node, path, line)
        if isinstance(node, yaml.SequenceNode):
            return Items(
                tuple(self.node(item, f"{path}[{index}]") for index, item in enumerate(node.value)), line
            )
        if node.tag == _NULL:
            return None
        if node.tag not in _SCALARS and node.tag != _MERGE:
            self._problems.lines.setdefault(path, line)
            # Not shown: a secret may begin like this.
            self._problems.error(
                path, "begins with a tag (!), which means nothing here: quote it or remove it"
            )
            return None
        return Text(node.value, line)

    def _block(self, node: Any, path: str, line: int) -> Block:
        entries: dict[str, Node] = {}
        first_lines: dict[str, int] = {}
        merged: list[Block] = []
        for key_node, value_node in node.value:
            at = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.error(path, f"has a key on line {at} that is not plain text")
                continue
            if key_node.tag == _MERGE:
                merged.extend(self._merged(value_node, path))
                continue
            key, colon, _ = key_node.value.partition(":")
            if colon:  # what follows is the value, perhaps a secret
                self._problems.error(
                    f"{path}.{key}" if path else key, f"needs a space after its colon on line {at}"
                )
                continue
            below = f"{path}.{key}" if path else key
            if key in entries:
                self._problems.lines[below] = at
                self._problems.error(below, f"is given twice, first on line {first_lines[key]}: remove one")
                continue
            self._problems.lines.setdefault(below, at)
            first_lines[key] = at
            entries[key] = self.node(value_node, below)
        for block in merged:
            for key, value in block.entries.items():
                entries.setdefault(key, value)
        return Block(entries, line)

    def _merged(self, node: Any, path: str) -> list[Block]:
        """The blocks behind a `<<`, nearest first."""
        tree = self.node(node, path)
        blocks = tree.items if isinstance(tree, Items) else (tree,)
        if not all(isinstance(block, Block) for block in blocks):
            self._problems.error(path, "has a << that does not name a block", using=[path])
        return [block for block in blocks if isinstance(block, Block)]
