"""`s3orchestrator admin reload-status`: did the daemon take over its configuration?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3orchestrator.cli.admin_client import Client
from s3orchestrator.cli.admin_options import DONE, NO, AdminCommand, Output
from s3orchestrator.cli.tables import printable


class ReloadStatusOptions(AdminCommand):
    """What `reload-status` may be told."""

    synopsis = "Usage: s3orchestrator admin reload-status [options]"
    description = """\
Shows what became of the last reload (SIGHUP, systemctl reload): which settings changed, which
need a restart, or why the file was refused. The generation counts the configurations that the
daemon has had. Exit status: 1 the last reload was refused."""

    def ask(self, client: Client, output: Output) -> int:
        reply = client.get("reload-status")
        if not reply.is_good:
            return output.refuse(reply)
        output.show(reply.document, _shown(reply.document))
        return NO if reply.document["status"] == "failed" else DONE


def _shown(document: Mapping[str, Any]) -> str:
    lines = [f"generation {document['generation']}, {_outcome(document)}"]
    if document["error"]:
        lines.append(f"keeping the one before: {document['error']}")
    for text, paths in (("changed", document["changed"]), ("needs a restart", document["ignored"])):
        lines += [f"{text}: {path}" for path in paths]
    return "".join(f"{printable(line)}\n" for line in lines)


def _outcome(document: Mapping[str, Any]) -> str:
    match document["status"]:
        case "never":
            return "as it was at the start"
        case "failed":
            return f"reload refused at {document['at']}"
        case _:
            return f"reloaded at {document['at']}"
