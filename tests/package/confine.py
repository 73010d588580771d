"""
Run a command under a SystemCallFilter=, as systemd would.

usage: confine.py ERRNO ALLOWED COMMAND...

Runs inside the root, where there is nothing but Python and libseccomp: it loads a filter that refuses all
system calls but those in the file ALLOWED, one a line, with ERRNO, and becomes the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO = 0x00050000


def main(error: str, allowed: str, *command: str) -> None:
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_ERRNO | getattr(errno, error)))
    with open(allowed) as names:
        for name in names.read().split():
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # this machine has it
                added = seccomp.seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0)
                assert added == 0, f"{name}: {os.strerror(-added)}"
    loaded = seccomp.seccomp_load(context)
    assert loaded == 0, os.strerror(-loaded)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
