"""`s3orchestrator admin fsck`: begins a check in the daemon, and waits for what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic, sleep
from typing import Any

from twisted.python import usage

from s3orchestrator.cli.admin_client import Client, Reply, segment
from s3orchestrator.cli.admin_options import CANNOT_ASK, DONE, NO, AdminCommand, Output
from s3orchestrator.cli.tables import printable

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 2.0  # seconds between two looks
_TELL_EVERY = 5.0


class AdminFsckOptions(AdminCommand):
    """What `admin fsck` may be told."""

    synopsis = "Usage: s3orchestrator admin fsck [--deep] [--repair] [--last] [options]"
    description = """\
Checks the ledger of a running daemon, and waits for the result; clients are served
meanwhile. Exit status as that of s3orchestrator fsck: 0 clean, 1 findings, 2 it could not
check. Ctrl-C ends the waiting, not the check.

--deep also lists every backend and compares, which are requests your providers count. At
most 1000 findings are shown. Strays are only reported: to delete them, stop the daemon and
use s3orchestrator fsck.

--repair stops all writes for as long as it takes to count every row anew."""

    optFlags = [
        ["deep", "d", "Compare the ledger with what the backends hold."],
        ["repair", None, "Mend what can be mended without losing data: counters."],
        ["last", "l", "Begin nothing: wait for the check that was begun last, and show it."],
    ]

    def postOptions(self) -> None:
        if self["last"] and (self["deep"] or self["repair"]):
            raise usage.UsageError("--last begins nothing: it goes with neither --deep nor --repair")

    def ask(self, client: Client, output: Output) -> int:
        reply = self._begin(client)
        if reply.status == 409:
            output.refuse(reply)
            output.tell("To wait for that one: s3orchestrator admin fsck --last")
            return CANNOT_ASK
        if not reply.is_good:
            return output.refuse(reply)
        if reply.document["job"] is None:
            output.show(reply.document, "nothing has been checked since the daemon was started\n")
            return CANNOT_ASK
        try:
            reply = _wait(client, reply, output)
        except KeyboardInterrupt:
            output.tell("\nThe check goes on. To see its result: s3orchestrator admin fsck --last")
            return CANNOT_ASK
        return _show(reply, output) if reply.is_good else output.refuse(reply)

    def _begin(self, client: Client) -> Reply:
        if self["last"]:
            return client.get("fsck")
        return client.post("fsck", {"deep": bool(self["deep"]), "repair": bool(self["repair"])})


def _wait(client: Client, reply: Reply, output: Output) -> Reply:
    job, wait, told = reply.document["job"], _FIRST_WAIT, monotonic()
    while reply.is_good and reply.document["state"] == "running":
        if monotonic() - told >= _TELL_EVERY:
            told = monotonic()
            output.tell(_progress(reply.document["progress"] or {}))
        sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)
        reply = client.get(f"jobs/{segment(job)}")
    return reply


def _progress(progress: Mapping[str, Any]) -> str:
    where, compared = progress.get("looking_at", "the ledger"), progress.get("compared", 0)
    return f"looking at {where}; {compared} names compared, {progress.get('findings', 0)} findings"


def _show(reply: Reply, output: Output) -> int:
    document = reply.document
    if document["state"] == "failed":
        output.show(document, "")
        output.tell(f"s3orchestrator admin: the check failed: {document['error']}")
        return CANNOT_ASK
    result = document["result"]
    output.show(document, _findings(result))
    return NO if result["left"] else DONE


def _findings(result: Mapping[str, Any]) -> str:
    if not result["total"]:
        return "clean\n"
    lines = [
        f"{'mended' if found['mended'] else found['rule']}: {found['subject']}: {found['message']}"
        for found in result["findings"]
    ]
    if (unshown := result["total"] - len(lines)) > 0:
        lines.append(f"and {unshown} more")
    lines.append(f"{result['left']} finding(s) left, {result['mended']} mended")
    return "".join(f"{printable(line)}\n" for line in lines)
