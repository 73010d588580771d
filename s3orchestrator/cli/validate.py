"""`s3orchestrator validate`: would this configuration start, and if not, why not?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from s3orchestrator.app.process import processes
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.config.addresses import Address
from s3orchestrator.config.listening_rules import listeners_of
from s3orchestrator.config.loader import Loaded, load
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.config.scalars import format_size
from s3orchestrator.config.sections import BackendConfig, Config
from s3orchestrator.web.tls import ServerTls, TlsError


class ValidateOptions(CommandOptions):
    """What `validate` may be told."""

    synopsis = "Usage: s3orchestrator validate --config FILE"
    description = """\
Checks a configuration file without starting anything or connecting anywhere. Exit
status: 0 it can be used, 1 it cannot, and every problem has been printed."""

    optParameters = [["config", "c", "config.yaml", "The configuration file."]]


def run(
    options: ValidateOptions, stdout: TextIO, stderr: TextIO, *, environ: Mapping[str, str] = os.environ
) -> int:
    """Check the file; the summary goes to `stdout`, errors and warnings to `stderr`."""
    path = options["config"]
    try:
        loaded = load(Path(path), environ)
    except ConfigErrors as errors:
        for problem in errors.problems:
            stderr.write(f"error: {problem}\n")
        stderr.write(f"config {path}: not valid ({_counted(len(errors.problems), 'problem')})\n")
        return 1
    missing = list(missing_files(loaded.config))
    for warning in (*loaded.warnings, *missing):
        stderr.write(f"warning: {warning}\n")
    wrong = list(_unusable_tls(loaded.config, missing))
    if wrong:
        stderr.writelines(f"error: {text}\n" for text in wrong)
        stderr.write(f"config {path}: not valid ({_counted(len(wrong), 'problem')})\n")
        return 1
    stdout.write(f"config {path}: valid\n")
    stdout.writelines(f"  {name:<9} {text}\n" for name, text in _summary(loaded))
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _summary(loaded: Loaded) -> Iterator[tuple[str, str]]:
    config = loaded.config
    for listener in config.server.places:
        scheme = "https" if listener.tls.enabled else "http"
        is_address = isinstance(listener.place, Address)
        yield "endpoint", f"{scheme}{'://' if is_address else ' on '}{listener.address}"
    if (workers := processes(config)) > 1:
        yield "workers", f"{workers} processes"
    yield "buckets", _listed([bucket.name for bucket in config.buckets])
    if config.users:
        yield "users", _listed([user.name for user in config.users])
    yield "backends", _listed([f"{each.name} ({each.type}, {_room(each)})" for each in config.backends])
    yield "room", _total(config)
    yield "routing", config.routing_strategy
    yield "ledger", f"{config.database.engine}, {_ledger(config)}"


def _ledger(config: Config) -> str:
    database = config.database
    if database.engine == "sqlite":
        return database.path
    return f"{database.database} at {database.host}, port {database.port}"


def _listed(names: list[str]) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "0"


def _room(backend: BackendConfig) -> str:
    return "unlimited" if backend.is_unlimited else format_size(backend.quota_bytes)


def _total(config: Config) -> str:
    limited = [backend.quota_bytes for backend in config.backends if not backend.is_unlimited]
    unlimited = len(config.backends) - len(limited)
    parts = [f"{format_size(sum(limited))} in {_counted(len(limited), 'limited backend')}"] if limited else []
    parts += [f"{_counted(unlimited, 'unlimited backend')}"] if unlimited else []
    return " and ".join(parts)


def _unusable_tls(config: Config, missing: Sequence[str]) -> Iterator[str]:
    """What is wrong inside of the files for TLS, where all of a listener's are there."""
    for _, path, listener in listeners_of(config):
        if listener.tls.enabled and not any(text.startswith(f"{path}.") for text in missing):
            try:
                ServerTls.of(listener.tls)
            except TlsError as error:
                yield f"{path}: {error}"


def missing_files(config: Config) -> Iterator[str]:
    """Files that could not be read here and now; where the program will run, they may be."""
    named = [
        (f"{path}.{name}", getattr(listener.tls, name))
        for _, path, listener in listeners_of(config)
        for name in ("cert_file", "key_file", "client_ca_file")
    ]
    named += [
        (f"{path}.certificates[{index}].{name}", getattr(pair, name))
        for _, path, listener in listeners_of(config)
        for index, pair in enumerate(listener.tls.certificates)
        for name in ("cert_file", "key_file")
    ]
    named += [(f"backends[{index}].ca_file", each.ca_file) for index, each in enumerate(config.backends)]
    for path, file in named:
        if file and not os.access(file, os.R_OK):
            yield f'{path}: "{file}" cannot be read by this user, here'
    for index, backend in enumerate(config.backends):
        if backend.path and not os.path.isdir(backend.path):
            yield f'backends[{index}].path: there is no directory "{backend.path}" here: create it first'
    directory = os.path.dirname(config.database.path)
    if directory and not os.path.isdir(directory):
        yield f'database.path: there is no directory "{directory}" here: create it first'
