"""The commands of `s3orchestrator admin` that ask once and print what they hear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.python import usage

from s3orchestrator.cli.admin_client import Client, Reply, segment
from s3orchestrator.cli.admin_options import DONE, NO, AdminCommand, Output
from s3orchestrator.cli.tables import duration, printable, size, table


class StatusOptions(AdminCommand):
    """What `status` may be told."""

    synopsis = "Usage: s3orchestrator admin status [options]"
    description = """\
Shows whether the ledger answers, what each backend holds and may hold, what was used of it
this month, and whether it is being left alone (breaker). ORPHANED is what waits to be
deleted, RESERVED what is being written. With several workers, also the processes that serve."""

    def ask(self, client: Client, output: Output) -> int:
        reply = client.get("status")
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, _status(reply.document))
        return DONE


def _status(document: Mapping[str, Any]) -> str:
    healthy = "healthy" if document["db_healthy"] else "away; what it counts is not known"
    rows = [
        (
            backend["name"],
            size(backend["bytes_used"]),
            _limit(backend["bytes_limit"]),
            size(backend["orphan_bytes"]),
            size(backend["reserved_bytes"]),
            backend["object_count"],
            backend.get("api_requests"),
            size(backend.get("egress_bytes")),
            size(backend.get("ingress_bytes")),
            _standing(backend),
        )
        for backend in document["backends"]
    ]
    headings = ("BACKEND", "USED", "LIMIT", "ORPHANED", "RESERVED", "OBJECTS", "REQUESTS", "READ", "WRITTEN")
    return (
        f"version {document['version']}, mode {document['mode']}\n"
        f"ledger: {healthy}\n"
        f"requests, bytes read and written: of {document['usage_period']}\n\n"
        + table((*headings, "STATE"), rows, right=range(1, 9))
        + _reasons(document["backends"])
        + _processes(document.get("processes", ()))
    )


def _reasons(backends: Sequence[Mapping[str, Any]]) -> str:
    """Say what is to be done about backends that may not be changed as they should."""
    told = [backend for backend in backends if backend.get("standing") in _TOLD]
    return "".join(f"\n{backend['name']}: {printable(backend['standing_reason'])}\n" for backend in told)


def _processes(processes: Sequence[Mapping[str, Any]]) -> str:
    """Return those that serve, if that is not the one that was asked."""
    if not processes:
        return ""
    rows = [
        (
            process["worker"],
            process["pid"],
            process["since"],
            process["connections"],
            process["requests"],
            "serving" if process["serving"] else "starting",
        )
        for process in processes
    ]
    headings = ("PROCESS", "PID", "SINCE", "CLIENTS", "REQUESTS", "STATE")
    return "\n" + table(headings, rows, right=(0, 1, 3, 4))


def _limit(limit: int | None) -> str | None:
    return "none" if limit == 0 else size(limit)


_TOLD = {
    "ledger-behind": "ledger behind: nothing is deleted",
    "no-marker": "no marker: nothing is written or deleted",
    "other-ledger": "another ledger's: nothing is written or deleted",
    "other-backend": "another backend: nothing is written or deleted",
    "marker-unreadable": "marker unreadable: nothing is written or deleted",
}


def _standing(backend: Mapping[str, Any]) -> str:
    if not backend["configured"]:
        return "not in the configuration"
    if (text := _TOLD.get(backend.get("standing", ""))) is not None:
        return text
    if backend["breaker"] != "closed":
        return f"breaker {backend['breaker']}"
    return "ok" if backend["traits"] is not None else "not reached yet"


class WorkersOptions(AdminCommand):
    """What `workers` may be told."""

    synopsis = "Usage: s3orchestrator admin workers [options]"
    description = """\
Lists what the daemon does in the background, how often, and how that went. Which workers
there are depends on its mode. (The processes of server.workers are in admin status.)"""

    def ask(self, client: Client, output: Output) -> int:
        reply = client.get("workers")
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, _workers(reply.document["workers"]))
        return DONE


def _workers(workers: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            worker["name"],
            duration(worker["interval"]),
            worker["running"],
            worker["last_result"],
            worker["last_success"],
            worker["consecutive_failures"],
        )
        for worker in workers
    ]
    return table(
        ("WORKER", "EVERY", "RUNNING", "LAST RESULT", "LAST SUCCESS", "FAILURES"), rows, right=(1, 5)
    )


class RunOptions(AdminCommand):
    """What `run` may be told."""

    synopsis = "Usage: s3orchestrator admin run WORKER [options]"
    description = """\
Has a worker do now what it does from time to time, and waits for the end of it for a while.
Exit status: 0 it has ended well, or goes on; 1 it failed, or there is no such worker."""

    def parseArgs(self, *words: str) -> None:
        self["worker"] = _only(words, "run", "the name of a worker: see s3orchestrator admin workers")

    def ask(self, client: Client, output: Output) -> int:
        reply = client.post(f"workers/{segment(self['worker'])}/run")
        if not reply.is_good:
            return output.refuse(reply)
        name, result = reply.document["name"], reply.document["last_result"]
        text = "still running: see s3orchestrator admin workers" if reply.status == 202 else result
        failed = reply.status == 200 and result == "error"
        hint = "; its log says why" if failed else ""
        output.show(reply.document, f"{printable(name)}: {text}{hint}\n")
        return NO if failed else DONE


class ObjectLocationsOptions(AdminCommand):
    """What `object-locations` may be told."""

    synopsis = "Usage: s3orchestrator admin object-locations BUCKET/KEY [options]"
    description = """\
Shows on which backends an object is, and what it is called there. The key is as clients
write it, not encoded; quote it for your shell. Exit status: 1 there is no such object."""

    def parseArgs(self, *words: str) -> None:
        self["key"] = _only(words, "object-locations", "BUCKET/KEY")

    def ask(self, client: Client, output: Output) -> int:
        reply = client.get("object-locations", key=self["key"])
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, _locations(reply.document["locations"]))
        return DONE


def _locations(locations: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            each["backend_name"],
            each["backend_key"],
            each["size_bytes"],
            each["created_at"],
            each["encrypted"],
            each["suspect"],
            each["version_id"],
        )
        for each in locations
    ]
    headings = ("BACKEND", "NAME THERE", "BYTES", "STORED", "ENCRYPTED", "SUSPECT", "VERSION")
    return table(headings, rows, right=(2,))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= _MOST_SHOWN):
        raise ValueError(f"--limit is a number from 1 to {_MOST_SHOWN}, not {text!r}")
    return int(text)


_SHOWN, _MOST_SHOWN = 50, 100_000
_QUEUE_ACTIONS = ("list", "retry", "write-off")


class CleanupQueueOptions(AdminCommand):
    """What `cleanup-queue` may be told."""

    synopsis = "Usage: s3orchestrator admin cleanup-queue [list | retry ID | write-off ID] [options]"
    description = """\
Shows what waits to be deleted from the backends. An entry is dead when its backend has
refused ten times: nobody tries again until you say so.

retry ID       tries a dead one again; retry --backend NAME all dead ones of a backend.
write-off ID   counts a dead one no more and forgets it after its rest. Whatever is still on
               the backend then is yours to remove; fsck --deep reports it as a stray."""

    optParameters = [
        ["state", "s", None, "Show only those that are doomed, or only those that are dead."],
        ["limit", "n", None, "How many to show; 50 unless given.", _number],
        ["backend", "b", None, "With retry: of which backend."],
    ]

    def parseArgs(self, *words: str) -> None:
        self["action"], rest = (words[0], words[1:]) if words else ("list", ())
        if self["action"] not in _QUEUE_ACTIONS:
            known = ", ".join(_QUEUE_ACTIONS)
            raise usage.UsageError(f"admin cleanup-queue can {known}, not {self['action']!r}")
        by_backend = self["action"] == "retry" and self["backend"]
        if self["action"] == "list" or by_backend:
            super().parseArgs(*rest)
        else:
            self["id"] = _only(rest, f"cleanup-queue {self['action']}", "the ID of an entry")

    def postOptions(self) -> None:
        if self["state"] not in (None, "doomed", "dead"):
            raise usage.UsageError(f"--state is doomed or dead, not {self['state']!r}")

    def ask(self, client: Client, output: Output) -> int:
        if self["action"] == "list":
            return self._list(client, output)
        if self["action"] == "retry" and self["backend"]:
            reply = client.post("cleanup-queue/retry", backend=self["backend"])
            retried = reply.document.get("retried")
            text = (
                f"{retried} retried within a minute\n"
                if retried
                else f"no entry of {self['backend']!r} is dead\n"
            )
        else:
            reply = client.post(f"cleanup-queue/{segment(self['id'])}/{self['action']}")
            what = "will be tried again within a minute" if self["action"] == "retry" else "is written off"
            text = f"{reply.document.get('id')} {what}\n"
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, text)
        return DONE

    def _list(self, client: Client, output: Output) -> int:
        items: list[Mapping[str, Any]] = []
        after, reply = None, None
        wanted = self["limit"] or _SHOWN
        while reply is None or (after and len(items) < wanted):
            limit = min(wanted - len(items), 1000)
            reply = client.get("cleanup-queue", state=self["state"], limit=limit, after=after)
            if not reply.is_good:
                return output.refuse(reply)
            items += reply.document["items"]
            after = reply.document["next"]
        document = {**reply.document, "items": items}
        output.show(document, _queue(document))
        return DONE


def _queue(document: Mapping[str, Any]) -> str:
    rows = [
        (
            item["id"],
            item["state"],
            item["backend"],
            item["key"],
            item["size"],
            item["attempts"],
            "now" if item["claimed"] else item["next_retry"],
            item["reason"],
        )
        for item in document["items"]
    ]
    headings = ("ID", "STATE", "BACKEND", "NAME THERE", "BYTES", "ATTEMPTS", "NEXT", "REASON")
    more = "there are more: --limit shows them\n" if document["next"] else ""
    listed = "\n" + table(headings, rows, right=(0, 4, 5)) if rows else ""
    return f"{document['depth']} doomed, {document['dead']} dead\n{listed}{more}"


class UsageFlushOptions(AdminCommand):
    """What `usage-flush` may be told."""

    synopsis = "Usage: s3orchestrator admin usage-flush [options]"
    description = """\
Writes what has been used of the backends this month to the ledger now, rather than with the
next interval."""

    def ask(self, client: Client, output: Output) -> int:
        reply = client.post("usage-flush")
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, f"{reply.document['status']}\n")
        return DONE


class LogLevelOptions(AdminCommand):
    """What `log-level` may be told."""

    synopsis = "Usage: s3orchestrator admin log-level [LEVEL] [options]"
    description = """\
Shows how much the daemon logs, or sets it to debug, info, warn or error until the daemon
ends. The audit trail is written at every level."""

    def parseArgs(self, *words: str) -> None:
        super().parseArgs(*words[1:])
        self["level"] = words[0] if words else None

    def ask(self, client: Client, output: Output) -> int:
        reply = self._reply(client)
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, f"{reply.document['level']}\n")
        return DONE

    def _reply(self, client: Client) -> Reply:
        if self["level"] is None:
            return client.get("log-level")
        return client.put("log-level", {"level": self["level"]})


def _only(words: Sequence[str], command: str, what: str) -> str:
    """Return the one argument of a command."""
    if not words:
        raise usage.UsageError(f"admin {command} needs {what}")
    if len(words) > 1:
        raise usage.UsageError(f"unexpected: {words[1]!r}")
    return words[0]
