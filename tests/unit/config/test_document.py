"""YAML text to a plain tree."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.document import MAX_BYTES, Block, Items, Text, parse
from s3orchestrator.config.problems import Problems


def read(text: str) -> tuple[Block | None, list[str]]:
    """The tree, and what was wrong."""
    problems = Problems()
    return parse(text, problems), [str(problem) for problem in problems.errors]


class ParseTests(SynchronousTestCase):
    """What a document becomes, and what is refused."""

    def test_scalars_are_text(self) -> None:
        """Nothing is guessed: what YAML would turn into a number, a truth or a date stays as written."""
        for written in ("yes", "012", "1:30", "1_000", "1e3", "2001-01-01", "0x1f", "1.20"):
            tree, errors = read(f"key: {written}")
            assert tree is not None
            self.assertEqual((tree.entries["key"], errors), (Text(written, 1), []))

    def test_nulls(self) -> None:
        """A value left out is none; the quoted word is text."""
        tree, _ = read('a:\nb: ~\nc: null\nd: "null"\n')
        assert tree is not None
        self.assertEqual(tree.entries, {"a": None, "b": None, "c": None, "d": Text("null", 4)})

    def test_lines(self) -> None:
        """Everything knows its line."""
        tree, _ = read("a:\n  - x\n  - y: z\n")
        self.assertEqual(tree, Block({"a": Items((Text("x", 2), Block({"y": Text("z", 3)}, 3)), 2)}, 1))

    def test_duplicate_keys(self) -> None:
        """Each key given twice is reported, wherever it is, with both lines."""
        _, errors = read("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n")
        self.assertEqual(
            errors,
            [
                "b.c (line 4): is given twice, first on line 3: remove one",
                "a (line 5): is given twice, first on line 1: remove one",
            ],
        )

    def test_merge_keys(self) -> None:
        """`<<` fills in what is not there; it is not a duplicate."""
        tree, errors = read("base: &base {x: 1, y: 2}\nmine:\n  <<: *base\n  y: 3\n")
        assert tree is not None
        mine = tree.entries["mine"]
        assert isinstance(mine, Block)
        self.assertEqual((mine.entries, errors), ({"y": Text("3", 4), "x": Text("1", 1)}, []))

    def test_not_yaml(self) -> None:
        """A syntax error has line and column, and does not repeat the line, which may hold a secret."""
        _, errors = read('server: x\npassword: "hunter2\n')
        self.assertEqual(len(errors), 1)
        self.assertIn("line", errors[0])
        self.assertNotIn("hunter2", errors[0])

    def test_variable_between_braces(self) -> None:
        """Where a reference needs quotes, which it once did not, the message says so."""
        _, errors = read("a: {b: ${NAME}, c: d}\n")
        self.assertEqual(len(errors), 1)
        self.assertIn('must be in quotes: "${NAME}"', errors[0])

    def test_control_characters(self) -> None:
        """What YAML does not allow at all is said as such."""
        _, errors = read("a: \x00b")
        self.assertEqual(errors, ["not valid YAML: it holds a control character"])

    def test_root(self) -> None:
        """An empty file is an empty root; a root that is a list or text is an error."""
        self.assertEqual(read(""), (None, []))
        self.assertEqual(read("# nothing\n"), (None, []))
        for text in ("- a\n- b\n", "just text"):
            tree, errors = read(text)
            self.assertIsNone(tree)
            self.assertEqual(len(errors), 1)

    def test_bounds(self) -> None:
        """Files that are too large, too deep, or too clever with aliases are refused quickly."""
        for text in ("#" * (MAX_BYTES + 1), "a: " + "[" * 100_000, "a: &a [*a]", "a: &a\n  <<: *a\n"):
            _, errors = read(text)
            self.assertEqual(len(errors), 1, text[:20])

    def test_aliases_do_not_explode(self) -> None:
        """A billion laughs take no time: what is shared is looked at once."""
        levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 20)]
        tree, errors = read("\n".join(["l0: &l0 [ha]", *levels]))
        self.assertIsNotNone(tree)
        self.assertEqual(errors, [])

    def test_tags(self) -> None:
        """Types of YAML's own are taken as text, others are refused."""
        tree, errors = read("a: !!int 5\nb: !secret x\nc: !!binary aGk=\n")
        assert tree is not None
        self.assertEqual(tree.entries["a"], Text("5", 1))
        self.assertEqual(len(errors), 2)

    def test_secrets_are_not_shown(self) -> None:
        """A secret that YAML takes for a tag, or for part of a key, is not in what is said about it."""
        for text in ("password: !hunter2\n", "{password:hunter2, user: u}\n", "password:hunter2:\n"):
            _, errors = read(text)
            self.assertEqual(len(errors), 1)
            self.assertIn("password", errors[0])
            self.assertNotIn("hunter2", errors[0])

    def test_odd_keys(self) -> None:
        """A key that is a list is an error, not a crash."""
        _, errors = read("? [a, b]\n: c\n")
        self.assertEqual(len(errors), 1)

    @given(st.text("ab:-&*<!|>[]{}#'\" \n?,%@`~", max_size=60))
    def test_never_crashes(self, text: str) -> None:
        """Any text gives a tree, or nothing, and nothing only for a reason."""
        tree, errors = read(text)
        if tree is None and not errors:
            # Comments, document marks and a lone null are as good as an empty file.
            self.assertEqual(set(yaml.safe_load_all(text)) - {None}, set())
