"""
Daemons that start at once.

Most of a start is importing, which is the same each time: one process does it for all of them, and
forks. What is about how the program is started uses `Daemon`, which runs its command.
"""

from __future__ import annotations

from functools import cache

from attrs import define

from s3orchestrator.testing.faults.forking import ForkServer
from tests.running import Daemon, Process

PROGRAM = "s3orchestrator.cli.main"
FAULTY = "s3orchestrator.testing.faults.__main__"  # the same, told when to die


@cache
def fork_server() -> ForkServer:
    """One for all tests of a process; it ends with it."""
    return ForkServer().start()


@define(eq=False)
class ForkedDaemon(Daemon):
    """A daemon that is a fork; all that it does from its command line on it does as ever."""

    def __attrs_post_init__(self) -> None:
        fork_server()  # by whom it is made: it ends with the thread that starts it

    def _spawn(self) -> Process:
        return self._fork(PROGRAM, *self.arguments)

    def _fork(self, module: str, *arguments: str) -> Process:
        return fork_server().run(
            module, arguments, self.log, environment=self.environment, directory=self.directory
        )
