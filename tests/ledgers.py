"""
Which database the deployments of tests have: SQLite, or PostgreSQL with two daemons on it.

`S3O_TEST_LEDGER=postgres` chooses the latter for a whole run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import field, frozen

from tests.instances import Instances
from tests.ports import free_port
from tests.running import Daemon, LedgerDatabase, LedgerFile, LedgerRows

CHOSEN = os.environ.get("S3O_TEST_LEDGER", "sqlite")
INSTANCES = {"sqlite": 1, "postgres": 2}


@frozen
class Choice:
    """A ledger, as the line of a configuration and to look into."""

    line: str
    rows: LedgerRows


def ledger(directory: Path, driver: str = CHOSEN) -> Choice:
    """Return an empty ledger of the chosen kind; an SQLite one is in `directory`."""
    if driver == "sqlite":
        path = directory / "ledger.db"
        return Choice(f'database: {{driver: sqlite, path: "{path}"}}', LedgerFile(path))
    from tests.servers import postgres

    server = postgres()
    name = server.database("icu")
    settings = f"host: {server.host}, port: {server.port}, database: {name}, user: {server.user}"
    line = f"database: {{driver: postgres, {settings}, ssl_mode: disable, min_conns: 1, max_conns: 10}}"
    return Choice(line, LedgerDatabase(partial(server.connect, name)))


@frozen
class Places:
    """Where the daemons of a deployment listen: one, or several behind one door."""

    driver: str = CHOSEN
    ports: Sequence[int] = field(init=False)

    @ports.default
    def _free(self) -> Sequence[int]:
        return [free_port() for _ in range(INSTANCES[self.driver])]

    @property
    def port(self) -> str:
        """What the configuration says: several daemons read the same file, and each its own environment."""
        return str(self.ports[0]) if len(self.ports) == 1 else "${S3O_PORT}"

    def daemons(self, config: Path, directory: Path, kind: type[Daemon] = Daemon) -> Daemon | Instances:
        """Return what serves `config`; its logs are in `directory`."""
        made = [
            kind(
                ["serve", "--config", str(config)],
                port,
                directory / f"serve{number or ''}.log",
                {**os.environ, "S3O_PORT": str(port)},
            )
            for number, port in enumerate(self.ports)
        ]
        return made[0] if len(made) == 1 else Instances(made, free_port())
