"""Sockets passed by systemd."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.web.inherited import MOST, Inherited, forget


def passed(number: str, names: str | None = None, process: str = "7") -> Inherited:
    """What process 7 makes of these variables."""
    environ = {"LISTEN_PID": process, "LISTEN_FDS": number}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    return Inherited.of(environ, 7)


class InheritedTests(SynchronousTestCase):
    def test_names(self) -> None:
        """Descriptors begin with the third, and several may have one name."""
        inherited = passed("3", "s3:admin:s3")
        self.assertEqual(inherited.names, ["admin", "s3"])
        self.assertEqual(inherited.take("s3"), [3, 5])
        self.assertEqual(inherited.take("s3"), [])
        self.assertEqual(inherited.names, ["admin"])

    def test_without_names(self) -> None:
        """Who passes no names means what systemd calls a socket without one."""
        self.assertEqual(passed("2").take("unknown"), [3, 4])
        self.assertEqual(passed("2", "s3").take("unknown"), [4])

    def test_for_somebody_else(self) -> None:
        """What was passed to another process, or not at all, is not ours."""
        for inherited in (
            passed("1", "s3", "8"),
            passed("1", "s3", ""),
            passed("", "s3"),
            Inherited.of({}, 7),
        ):
            self.assertEqual(inherited.names, [])

    @given(st.text(), st.text(), st.text())
    def test_nonsense(self, number: str, names: str, process: str) -> None:
        """Whatever is there, no more is made of it than can be."""
        inherited = passed(number, names, process)
        taken = [each for name in inherited.names for each in inherited.take(name)]
        self.assertLessEqual(len(taken), MOST)
        self.assertEqual(sorted(taken), list(range(3, 3 + len(taken))))

    def test_forget(self) -> None:
        """Nobody we start is told of them."""
        environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "s3", "PATH": "/bin"}
        forget(environ)
        self.assertEqual(environ, {"PATH": "/bin"})
