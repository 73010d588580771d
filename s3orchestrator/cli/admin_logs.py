"""`s3orchestrator admin logs`: the latest lines of a daemon's log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from time import sleep
from typing import Any

from twisted.python import usage

from s3orchestrator.cli.admin_client import Client
from s3orchestrator.cli.admin_options import DONE, AdminCommand, Output
from s3orchestrator.cli.tables import printable

EVERY = 1.0  # seconds between two looks
_MOST = 1000  # that are answered at a time
_OUR_OWN = "admin.Logs"  # what our asking leaves in the log
_SHOWN_BEFORE = frozenset(
    ["id", "time", "level", "component", "msg", "request_id", "traceback", "audit", "event"]
)


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= _MOST):
        raise ValueError(f"--limit is a number from 1 to {_MOST}, not {text!r}")
    return int(text)


class LogsOptions(AdminCommand):
    """What `logs` may be told."""

    synopsis = "Usage: s3orchestrator admin logs [options]"
    description = """\
Shows the latest lines that the daemon has logged, its audit trail among them: it keeps the
last 5,000. With --json each line is as it was logged, with its number; with --follow what
is logged from then on is shown as well."""

    optParameters = [
        *AdminCommand.optParameters,
        ["level", "l", None, "Only lines of this level or worse: debug, info, warn, error."],
        ["component", "m", None, "Only those of one part of the daemon, such as cleanup or audit."],
        ["text", "x", None, "Only those with this text in them: a key, a request id."],
        ["since", "s", None, "Only those since a moment, such as 2026-07-01T12:00:00Z."],
        ["limit", "n", 100, "How many at most; 100 unless given.", _lines],
    ]
    optFlags = [*AdminCommand.optFlags, ["follow", "f", "Go on showing what comes."]]

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"unexpected: {words[0]!r}")

    def ask(self, client: Client, output: Output) -> int:
        wanted = {name: self[name] for name in ("level", "component", "text", "since") if self[name]}
        asked: dict[str, str] = {**wanted, "limit": str(self["limit"])}
        while True:
            reply = client.get("logs", **asked)
            if not reply.is_good:
                return output.refuse(reply)
            document = reply.document
            _show(document["entries"], output, ours="after" in asked)
            if not self["follow"]:
                return DONE
            going_on = "after" in asked and document["has_more"]
            after = document["entries"][-1]["id"] if going_on else document["newest"]
            asked = {**wanted, "limit": str(_MOST), "after": str(after)}
            if not going_on:
                sleep(EVERY)


def _show(entries: Sequence[Mapping[str, Any]], output: Output, *, ours: bool) -> None:
    """Print lines; not what came of our own asking, if `ours` is among them."""
    shown = json.dumps if output.as_json else _for_people
    for entry in entries:
        if not (ours and entry.get("event") == _OUR_OWN):
            output.stdout.write(f"{shown(entry)}\n")
    output.stdout.flush()


def _for_people(entry: Mapping[str, Any]) -> str:
    words = [f"{entry['time']} {entry['level']:5} {entry['component']}:", entry.get("event") or entry["msg"]]
    words += [f"{name}={value}" for name, value in entry.items() if name not in _SHOWN_BEFORE]
    if "request_id" in entry:
        words.append(f"[{entry['request_id']}]")
    text = printable(" ".join(words))
    trace = entry.get("traceback", "").rstrip().splitlines()
    return "\n".join([text, *[printable(line) for line in trace]])
