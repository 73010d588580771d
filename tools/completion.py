"""Print what bash needs to complete the commands of the program and their options."""

from __future__ import annotations

from tools.commandline import Command, program

FUNCTION = """\
# bash completion of s3orchestrator: commands, options, and the names of files.

_s3orchestrator() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local command= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$command $word" in
%(steps)s
        esac
    done
    case "$previous" in
        %(files)s)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        %(values)s)
            return
            ;;
    esac
    local words=
    case "$command" in
%(words)s
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _s3orchestrator s3orchestrator
"""

# Options whose value is a file or a folder.
FILES = ("config", "to", "data", "ca-file", "cert-file", "key-file")


def script() -> str:
    """Return the script."""
    whole = program()
    everyone = list(whole.everyone())
    options = [option for command in everyone for option in command.options if option.takes_value]
    spelled = {
        option.name: [f"--{option.name}", *([f"-{option.letter}"] if option.letter else [])]
        for option in options
    }
    files = [word for name in FILES for word in spelled[name]]
    values = [word for name in sorted(spelled) for word in spelled[name] if word not in files]
    return FUNCTION % {
        "steps": "\n".join(_step(command.words) for command in everyone if command.words),
        "files": " | ".join(files),
        "values": " | ".join(dict.fromkeys(values)),
        "words": "\n".join(
            f'        "{_path(command.words)}") words="{" ".join(_words(command, whole))}" ;;'
            for command in everyone
        ),
    }


def _step(words: tuple[str, ...]) -> str:
    return f'            "{_path(words[:-1])} {words[-1]}") command="{_path(words)}" ;;'


def _path(words: tuple[str, ...]) -> str:
    return "/".join(words)


def _words(command: Command, whole: Command) -> list[str]:
    below = whole.commands if command.words == ("help",) else command.commands
    return [*(each.words[-1] for each in below), *(f"--{option.name}" for option in command.options)]


if __name__ == "__main__":
    print(script(), end="")
