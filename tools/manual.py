"""Print the manual page s3orchestrator(8): what the commands say of themselves, and what is around them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from s3orchestrator import __version__
from tools.commandline import Command, Option, program

# Roff, since nothing else is between this and the reader.
AROUND = r"""
.SH FILES
.TP
.I /etc/s3orchestrator/config.yaml
The configuration of the service.
.I /usr/share/doc/s3orchestrator/examples/s3orchestrator.yaml
has every setting, with its default.
.TP
.I /etc/default/s3orchestrator
Variables for the service: what the configuration refers to as
.BR ${NAME} .
.TP
.I /var/lib/s3orchestrator
The ledger, if it is in SQLite, and the directories that are kept there.
.TP
.I /usr/lib/s3orchestrator
The program, and the Python packages that it runs on; its
.B twistd
is in
.IR bin .
.SH ENVIRONMENT
.TP
.BR S3O_ADMIN_URL ", " S3O_ADMIN_TOKEN
Where the daemon is that
.B s3orchestrator admin
asks, and the token to ask it with; they win over the configuration file.
.PP
The configuration may refer to any other variable.
.SH SIGNALS
.TP
.B SIGTERM
The service says that it is no longer ready, finishes what is in flight within 30 seconds, and ends.
.TP
.B SIGHUP
It reads its configuration and its certificates again. A file with a problem changes nothing.
.SH EXAMPLES
Check the service's configuration, with the service's variables and as its user:
.PP
.in +4n
.EX
systemd-run \-\-pipe \-\-wait \-q \-p User=s3orchestrator \e
    \-p EnvironmentFile=/etc/default/s3orchestrator \e
    s3orchestrator validate \-\-config /etc/s3orchestrator/config.yaml
.EE
.in
.PP
Take a new configuration over, without dropping a connection:
.PP
.in +4n
.EX
systemctl reload s3orchestrator
.EE
.in
.SH SEE ALSO
.BR systemd.service (5),
.BR systemd.socket (5),
.BR journalctl (1)
"""


def page() -> str:
    """Return the page, in roff."""
    whole = program()
    return "\n".join([*_head(whole), *_commands(whole), AROUND.strip("\n"), ""])


def _head(whole: Command) -> Iterator[str]:
    yield f'.TH S3ORCHESTRATOR 8 "" "s3orchestrator {__version__}" "System administration"'
    yield ".SH NAME"
    yield r"s3orchestrator \- one S3 endpoint in front of many storage backends"
    yield ".SH SYNOPSIS"
    for command in whole.commands:
        yield ".PP"
        yield f".B {_plain(command.synopsis)}"
    yield ".SH DESCRIPTION"
    yield from _paragraphs(whole.description)
    yield ".PP"
    yield "The package starts it as the service"
    yield ".BR s3orchestrator.service ,"
    yield "once that is enabled."


def _commands(whole: Command) -> Iterator[str]:
    yield ".SH COMMANDS"
    common = set(whole.options)
    for command in whole.everyone():
        if not command.words:
            continue
        above = _above(whole, command)
        yield f".SS {_plain(' '.join(command.words))}"
        yield _plain(command.summary)
        yield ".PP"
        yield f".B {_plain(command.synopsis)}"
        yield from _paragraphs(command.description)
        yield from _options(option for option in command.options if option not in common | above)
    yield ".SH OPTIONS OF ALL COMMANDS"
    yield from _options(whole.options)


def _above(whole: Command, command: Command) -> set[Option]:
    """Return the options that the command shares with the one that it belongs to."""
    words = command.words[:-1]
    return {option for each in whole.everyone() if each.words == words for option in each.options}


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        value = f"={option.name.split('-')[-1].upper()}" if option.takes_value else ""
        letter = f"-{option.letter}, " if option.letter else ""
        yield ".TP"
        yield f".B {_plain(f'{letter}--{option.name}{value}')}"
        yield _plain(option.doc)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        if paragraph:
            yield ".PP"
            yield _plain(" ".join(paragraph.split()))


def _plain(text: str) -> str:
    """Keep roff from reading anything into a text; a dash is one that can be copied and typed."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    print(page(), end="")
