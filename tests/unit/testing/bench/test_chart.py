"""Charts, as far as their coordinates can be reckoned by hand."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Chart,
    Line,
    Point,
    steps,
)

SVG = "{http://www.w3.org/2000/svg}"


def line(name: str, *places: tuple[float, float], **more: bool) -> Line:
    return Line(name, [Point(x, y, y / 1.1, y * 1.1) for x, y in places], "#0b5fa5", **more)


class AxisTests(SynchronousTestCase):
    def test_logarithmic(self) -> None:
        """Equal ratios are equally far apart, also on an axis that runs upwards."""
        axis = Axis(1, 100, 300, 100)
        self.assertEqual([round(axis.place(value)) for value in (1, 10, 100)], [300, 200, 100])

    def test_steps(self) -> None:
        """Steps are 1, 2 and 5 of each decade, around what there is."""
        self.assertEqual(steps(3, 30), [2, 5, 10, 20, 50])
        self.assertEqual(steps(0.2, 1), [0.2, 0.5, 1])
        self.assertEqual(steps(10, 10), [10, 20])

    @given(st.floats(1e-6, 1e9), st.floats(1, 1e6))
    def test_steps_cover(self, low: float, ratio: float) -> None:
        """Whatever there is lies within, and no step is beyond what is needed."""
        found = steps(low, low * ratio)
        self.assertLessEqual(found[0], low * 1.000001)
        self.assertGreaterEqual(found[-1], low * ratio * 0.999999)
        self.assertGreaterEqual(len(found), 2)
        self.assertLess(low / found[0], 2.6)


class ChartTests(SynchronousTestCase):
    def drawn(self, *lines: Line, ticks: list[tuple[float, str]] | None = None) -> ElementTree.Element:
        named = ticks or [(1, "1"), (32, "32"), (256, "256")]
        chart = Chart("Cost <of> GETs", "connections", "µs & more", named, lines)
        return ElementTree.fromstring(chart.svg())

    def texts(self, root: ElementTree.Element) -> list[str | None]:
        return [each.text for each in root.iter(f"{SVG}text")]

    def test_words(self) -> None:
        """Titles, ticks and the names of lines are there, whatever characters they have."""
        texts = self.texts(self.drawn(line("ours", (1, 10), (256, 20))))
        for text in ("Cost <of> GETs", "connections", "µs & more", "1", "32", "256", "ours"):
            self.assertIn(text, texts)

    def test_everything_is_inside(self) -> None:
        """Points lie between the axes, the range of the rounds as well."""
        root = self.drawn(line("ours", (1, 150), (32, 0.3), (256, 9)), line("nginx", (1, 17), square=True))
        marks = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in root.iter(f"{SVG}circle")]
        self.assertEqual(len(marks), 4)  # three points, and one in the legend
        for x, y in marks[:3]:
            self.assertTrue(LEFT < x < WIDTH - RIGHT, x)
            self.assertTrue(TOP < y < HEIGHT - BOTTOM, y)

    def test_more_is_higher(self) -> None:
        """What costs more is drawn above what costs less, and what is larger to the right."""
        (drawn,) = self.drawn(line("ours", (32, 20), (1, 10))).iter(f"{SVG}polyline")
        first, second = (
            [float(number) for number in point.split(",")] for point in drawn.attrib["points"].split()
        )
        self.assertLess(first[0], second[0])
        self.assertGreater(first[1], second[1])

    def test_legend(self) -> None:
        """Names are in the order of the lines' right ends; dashed lines are dashed there too."""
        root = self.drawn(line("cheap", (1, 9), (256, 1)), line("dear", (1, 2), (256, 8), dashed=True))
        texts = self.texts(root)
        self.assertLess(texts.index("dear"), texts.index("cheap"))
        self.assertEqual(sum("stroke-dasharray" in each.attrib for each in root.iter()), 2)

    def test_crowded_ticks(self) -> None:
        """A name that would lie on another one is left out."""
        texts = self.texts(
            self.drawn(line("ours", (1, 1), (1000, 2)), ticks=[(1, "one"), (900, "first"), (1000, "second")])
        )
        self.assertIn("first", texts)
        self.assertNotIn("second", texts)
