from __future__ import annotations

import io
import json
import logging
import re
import sys
from errno import EMFILE
from math import isfinite
from typing import Any

import txaio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import Logger, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.bodies.listening import Port
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.bridge import Bridge
from s3orchestrator.telemetry.context import REQUEST_ID, on_behalf_of
from s3orchestrator.telemetry.lines import json_line, terminal_line
from s3orchestrator.telemetry.logging import (
    LEVELS,
    LineObserver,
    gather,
    make_logger,
    observer,
    set_level,
    terminal,
)

_SCALARS = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
_VALUES = st.recursive(
    st.text() | st.binary() | st.floats() | st.booleans() | st.none(),
    lambda more: st.lists(more) | st.dictionaries(st.text(), more),
)


class Component:
    log = make_logger()


class Exhausted:
    """A listening socket in a process that has no descriptor left."""

    def accept(self) -> None:
        raise OSError(EMFILE, "Too many open files")


class Unspeakable:
    """What has no words."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.out = io.StringIO()
        self.addCleanup(set_level, txaio.get_global_log_level())
        set_level("info")
        self.watch(json_line)

    def watch(self, line: Any) -> None:
        self.seen = LineObserver(self.out, line)
        globalLogPublisher.addObserver(self.seen)
        self.addCleanup(globalLogPublisher.removeObserver, self.seen)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]


class JsonLineTests(LogTests):
    def test_text_and_fields(self) -> None:
        """
        A line has the text with its fields filled in, and the fields again by themselves.
        """
        Component.log.warn("{backend}: {count} objects", backend="oci", count=3)
        (line,) = self.lines()
        self.assertEqual(line["msg"], "oci: 3 objects")
        self.assertEqual((line["backend"], line["count"]), ("oci", 3))
        self.assertEqual(line["level"], "warn")
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_component(self) -> None:
        """
        A line names the part of the daemon that speaks, or the library.
        """
        Component.log.info("hello")
        audit("test.Component")
        # This module is somebody else's in the eyes of the log, so only a warning comes through.
        Component.log.warn("hello")
        self.assertEqual([line["component"] for line in self.lines()], ["audit", __name__])

    def test_one_line(self) -> None:
        """
        Line ends in a client's data do not start a new line.
        """
        Component.log.warn("{key}", key='a\nb"\r{}')
        (line,) = self.lines()
        self.assertEqual(line["key"], 'a\nb"\r{}')

    def test_controls(self) -> None:
        """
        What a terminal would obey, or a reader take for the end of a line, is escaped.
        """
        name = "a\x1b\x7f\x85\x9b\u2028\u2029\ud800ü☃"
        Component.log.warn("{key}", key=name, keys=[name])
        line = self.out.getvalue()
        self.assertTrue(line.rstrip("\n").isprintable(), line)
        self.assertIn("ü☃", line)
        (read,) = self.lines()
        self.assertEqual((read["key"], read["keys"], read["msg"]), (name, [name], name))

    def test_request_id(self) -> None:
        """
        A line belongs to the request in whose context it was written.
        """
        self.addCleanup(REQUEST_ID.reset, REQUEST_ID.set("4A2F"))
        Component.log.warn("here")
        self.assertEqual(self.lines()[0]["request_id"], "4A2F")

    def test_failure(self) -> None:
        """
        A failure is one line too, traceback included.
        """
        try:
            raise LookupError("no such thing")
        except LookupError:
            Component.log.failure("{service}: tick failed", service="rebalance")
        (line,) = self.lines()
        self.assertEqual(line["msg"], "rebalance: tick failed")
        self.assertIn("no such thing", line["traceback"])
        self.assertEqual(len(self.flushLoggedErrors(LookupError)), 1)

    def test_unprintable(self) -> None:
        """
        Bytes and objects are printed as text.
        """
        Component.log.warn("x", raw=b"a\xff", thing=object, several=(1, {"deep": b"b"}))
        (line,) = self.lines()
        self.assertEqual(line["raw"], "a\\xff")
        self.assertEqual(line["several"], [1, {"deep": "b"}])
        self.assertEqual(line["thing"], "<class 'object'>")


class SecretTests(LogTests):
    def test_fields(self) -> None:
        """
        A field that is called a secret is hidden, in the text, by itself and inside of others.
        """
        Component.log.warn(
            "{secret_access_key} {headers}",
            secret_access_key="hush",
            headers={"Authorization": "AWS4 hush", b"x-proxy-token": [b"hush"], "Host": "here"},
        )
        self.assertNotIn("hush", self.out.getvalue())
        self.assertIn("here", self.out.getvalue())

    def test_text(self) -> None:
        """
        Signatures and session tokens are hidden wherever they appear.
        """
        Component.log.warn("GET {path}", path="/b/k?X-Amz-Signature=hush&X-Amz-Security-Token=hush&x=1")
        Component.log.warn("Credential=AKID/x, Signature=hush")
        Component.log.warn('say "Signature=hush"')
        self.assertNotIn("hush", self.out.getvalue())
        self.assertIn("&x=1", self.lines()[0]["path"])

    def test_traceback(self) -> None:
        """
        A traceback is no way round.
        """
        try:
            raise ValueError("refused: Signature=hush")
        except ValueError:
            Component.log.failure("failed")
        self.assertIn("traceback", self.lines()[0])
        # The traceback quotes this file's source as well, where the word also follows "Signature=".
        self.assertNotIn("hush", self.out.getvalue())
        self.flushLoggedErrors(ValueError)

    @given(
        st.sampled_from(
            [
                "X-Amz-Signature=",
                "X-Amz-Signature%3D",
                "x-amz-security-token=",
                "X-Amz-Security-Token%3d",
                "X-Amz-Security-Token: ",
                "Signature=",
            ]
        ),
        st.text(max_size=20),
        st.text(max_size=20),
        st.sampled_from(["path", "key", "error", "headers", "list"]),
    )
    def test_anywhere(self, name: str, before: str, after: str, label: str) -> None:
        """Wherever in a field a secret is written as it is in requests, no line has it."""
        secret = "AbC/d+eF09=="
        text = f"{before}{name}{secret}&{after}"
        value: Any = {"headers": {"Host": text}, "list": [text, text]}.get(label, text)
        event = {"log_namespace": "s3orchestrator.x", "log_format": "{value_}", "value_": value, label: value}
        for line in (json_line(event), terminal_line(event)):
            self.assertNotIn("AbC/d+eF09", line)
        json.loads(json_line(event))

    @given(
        st.sampled_from(["secret_access_key", "Authorization", "sessionToken", "password", "x-admin-token"]),
        st.recursive(
            st.just("AbC/d+eF09"), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
        ),
    )
    def test_by_name(self, name: str, value: Any) -> None:
        """Nothing is printed of what a secret is called, whatever it is, nor if it is inside of something."""
        event = {"log_namespace": "s3orchestrator.x", "log_format": "x", name: value, "inside": {name: value}}
        for line in (json_line(event), terminal_line(event)):
            self.assertNotIn("AbC/d+eF09", line)

    @given(st.dictionaries(st.sampled_from(["key", "path", "a", "b"]), _VALUES))
    def test_one_line_each(self, fields: dict[str, Any]) -> None:
        """Whatever is in the fields, an event is one printable line, and JSON."""
        event = {"log_namespace": "s3orchestrator.x", "log_format": "x", **fields}
        for line in (json_line(event), terminal_line(event)):
            self.assertTrue(line.endswith("\n"))
            self.assertIsNone(re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line[:-1]), line)
            self.assertEqual(len(line.splitlines()), 1)
        json.loads(json_line(event), parse_constant=self.fail)

    @given(st.dictionaries(st.sampled_from(["key", "100%", "%s", '"', "a"]), _SCALARS))
    def test_values(self, fields: dict[str, Any]) -> None:
        """A line has the values of fields as they are; a number that is none is nothing."""
        event = {"log_namespace": "s3orchestrator.x", "log_format": "x", **fields}
        line = json.loads(json_line(event), parse_constant=self.fail)
        for name, value in fields.items():
            is_number = not isinstance(value, float) or isfinite(value)
            self.assertEqual(line[name], value if is_number else None)
            self.assertIs(type(line[name]), type(value) if is_number else type(None))

    def test_terminal(self) -> None:
        """
        People at a terminal do not see secrets either.
        """
        self.watch(terminal_line)
        Component.log.warn("{password}", password="hush")
        self.assertIn("***", self.out.getvalue())
        self.assertNotIn("hush", self.out.getvalue())

    def test_terminal_audit(self) -> None:
        """
        A line of the audit trail begins with what it records.
        """
        self.watch(terminal_line)
        audit("s3.GetObject", status=200)
        self.assertTrue(self.out.getvalue().endswith(" audit: s3.GetObject status=200\n"))


class LevelTests(LogTests):
    def test_below(self) -> None:
        """
        What is below the level is not written, and is again once the level is lowered.
        """
        set_level("warn")
        Component.log.debug("unseen")
        set_level("debug")
        Component.log.debug("detail")
        self.assertEqual([line["msg"] for line in self.lines()], ["detail"])

    def test_audit(self) -> None:
        """
        The audit trail is written whatever the level.
        """
        for level in LEVELS:
            set_level(level)
            audit("test.Seen", at=level)
        self.assertEqual([line["at"] for line in self.lines()], list(LEVELS))

    def test_unknown(self) -> None:
        """
        A level that does not exist is refused, and the message lists those that do.
        """
        error = self.assertRaises(ValueError, set_level, "loud")
        for level in LEVELS:
            self.assertIn(level, str(error))

    def test_libraries(self) -> None:
        """
        A library's information is only shown to those who want details; its warnings always.
        """
        library = Logger(namespace="twisted.web")
        library.info("factory started")
        library.warn("odd")
        set_level("error")
        library.warn("odd again")
        set_level("debug")
        library.info("port opened")
        self.assertEqual([line["msg"] for line in self.lines()], ["odd", "port opened"])

    def test_standard_logging(self) -> None:
        """
        What libraries say by Python's own logging is in the log as well, if it is a warning or worse.
        """
        bridge = Bridge()
        library = logging.getLogger("botocore.credentials")
        library.addHandler(bridge)
        self.addCleanup(library.removeHandler, bridge)
        library.info("found credentials")
        library.warning("no credentials for %s", "oci")
        try:
            raise LookupError("expired")
        except LookupError:
            library.exception("refresh failed")
        said = [(line["level"], line["component"], line["msg"]) for line in self.lines()]
        self.assertEqual(
            said,
            [
                ("warn", "botocore.credentials", "no credentials for oci"),
                ("error", "botocore.credentials", "refresh failed"),
            ],
        )
        self.assertIn("expired", self.lines()[1]["traceback"])
        self.flushLoggedErrors(LookupError)

    def test_sockets(self) -> None:
        """
        What Twisted says at every attempt to accept is written once a second; what we say always.
        """
        port = Port(0, Factory(), 1, "127.0.0.1", Clock())
        port.socket = Exhausted()
        port.numberAccepts = 1
        for _ in range(50):
            port.doRead()
            Component.log.error("ours")
        said = [line["msg"] for line in self.lines()]
        self.assertEqual(said.count("ours"), 50)
        self.assertIn(len(said) - 50, range(1, 6), said[:10])


class TerminalTests(LogTests):
    def test_line(self) -> None:
        """
        A line for people starts with the time and ends with the request.
        """
        out = io.StringIO()
        seen = LineObserver(out, terminal_line)
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        self.addCleanup(REQUEST_ID.reset, REQUEST_ID.set("4A2F"))
        Component.log.warn("disk {name} is full", name="a", size=7)
        self.assertRegex(out.getvalue(), r"^\d\d:\d\d:\d\d warn  \S+: disk a is full size=7 \[4A2F\]\n$")

    def test_one_line(self) -> None:
        """
        What a client sent begins no line of its own, and tells the terminal nothing.
        """
        out = io.StringIO()
        seen = LineObserver(out, terminal_line)
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        Component.log.warn("{key}", key="ü\n12:00:00\x1b[31m", other="\r\x9b\u2028", raw=b"\x07")
        self.assertTrue(out.getvalue().endswith(": ü\\n12:00:00\\x1b[31m other=\\r\\x9b\\u2028 raw=\\x07\n"))

    def test_traceback(self) -> None:
        """
        A traceback keeps its lines, and nothing else that cannot be printed.
        """
        out = io.StringIO()
        seen = LineObserver(out, terminal_line)
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        try:
            raise LookupError("no such \x1bthing")
        except LookupError:
            Component.log.failure("failed")
        self.assertRegex(out.getvalue(), r"(?s)failed\nTraceback.*LookupError: no such \\x1bthing\n")
        self.flushLoggedErrors(LookupError)

    def test_any_text(self) -> None:
        """
        No line is lost because of what standard output or error would rather have.
        """
        for name, build in (("stdout", observer), ("stderr", terminal)):
            written = io.BytesIO()
            self.patch(sys, name, io.TextIOWrapper(written, encoding="latin-1"))
            build()({"log_namespace": "s3orchestrator.x", "log_format": "{key}", "key": "☃\ud800"})
            self.assertIn("☃", written.getvalue().decode("utf-8"))

    def test_factory(self) -> None:
        """
        twistd gets an observer from the name we document.
        """
        self.patch(__import__("sys"), "stdout", self.out)
        observer()({"log_level": None, "log_namespace": "s3orchestrator.x", "log_format": "hello"})
        self.assertEqual(self.lines()[0]["msg"], "hello")


class AuditTests(LogTests):
    def test_line(self) -> None:
        """
        The audit trail can be selected from the log, and names what happened.
        """
        audit("s3.PutObject", bucket="photos", key="cat.jpg", status=200)
        (line,) = self.lines()
        self.assertIs(line["audit"], True)
        self.assertEqual(
            (line["event"], line["bucket"], line["key"], line["status"]),
            ("s3.PutObject", "photos", "cat.jpg", 200),
        )

    def test_gathered(self) -> None:
        """
        Lines that are gathered wait for the end of the turn, or for one of another kind; none is lost.
        """
        calls: list[Any] = []
        gather(calls.append)
        self.addCleanup(gather, None)
        with on_behalf_of("first"):
            audit("s3.PutObject", bucket="b")
        audit("s3.GetObject", bucket="b")
        self.assertEqual((len(calls), self.lines()), (1, []))
        calls[0]()
        audit("s3.HeadObject", bucket="b")
        self.assertEqual(len(calls), 2)
        Component.log.warn("something else")
        calls[1]()
        lines = self.lines()
        events = [line.get("event", line["msg"]) for line in lines]
        self.assertEqual(events, ["s3.PutObject", "s3.GetObject", "s3.HeadObject", "something else"])
        self.assertEqual([line.get("request_id") for line in lines], ["first", None, None, None])

    def test_changes_do_not_wait(self) -> None:
        """
        What was changed is written before anybody can be told, after what had waited.
        """
        gather(lambda call: None)
        self.addCleanup(gather, None)
        events = ["s3.GetObject", "storage.ListObjects", "storage.PutObject"]
        for event in events:
            audit(event)
        self.assertEqual([line["event"] for line in self.lines()], events)

    def test_one_cannot_be_worded(self) -> None:
        """
        A line that cannot be worded says so, and takes none of those with it that waited for it.
        """
        calls: list[Any] = []
        gather(calls.append)
        self.addCleanup(gather, None)
        audit("s3.PutObject", key="a")
        audit("s3.PutObject", key=Unspeakable())
        audit("s3.PutObject", key="b")
        calls[0]()
        audit("s3.PutObject", key="c")
        Component.log.warn("something {thing}", thing=Unspeakable())
        lines = self.lines()
        self.assertEqual([line.get("key") for line in lines], ["a", None, "b", "c", None])
        self.assertEqual([line["level"] for line in lines], ["info", "error", "info", "info", "error"])
        self.assertEqual(
            [line["msg"] for line in (lines[1], lines[4])],
            [
                "a line of s3orchestrator.telemetry.audit cannot be worded: ZeroDivisionError",
                f"a line of {__name__} cannot be worded: ZeroDivisionError",
            ],
        )

    def test_many_gathered(self) -> None:
        """
        A turn that makes very many lines does not keep them all.
        """
        gather(lambda call: None)
        self.addCleanup(gather, None)
        for number in range(1000):
            audit("s3.GetObject", number=number)
        written = [line["number"] for line in self.lines()]
        self.assertGreater(len(written), 900)
        self.assertEqual(written, list(range(len(written))))
        self.seen.close()
        self.assertEqual(len(self.lines()), 1000)

    def test_many_turns(self) -> None:
        """
        Where nothing is ever sent that lines must precede, nothing is kept of turns that have ended.
        """
        calls: list[Any] = []
        gather(calls.append)
        self.addCleanup(gather, None)
        audit("s3.GetObject")
        calls.pop()()
        known = sys.getrefcount(self.seen)
        for _ in range(100):
            audit("s3.GetObject")
            calls.pop()()
        self.assertEqual(sys.getrefcount(self.seen), known)

    def test_counted(self) -> None:
        """
        Each event is counted, also while the log is too quiet to show it.
        """
        set_level("error")
        audit("test.Counted")
        audit("test.Counted")
        self.assertEqual(REGISTRY.get_sample_value("s3o_audit_events_total", {"event": "test.Counted"}), 2)
