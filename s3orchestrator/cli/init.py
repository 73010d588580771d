"""`s3orchestrator init`: asks what matters, and writes a configuration file that validates."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from secrets import choice, token_urlsafe
from shlex import quote
from string import ascii_uppercase, digits
from tempfile import mkstemp
from typing import TextIO, TypeVar

from s3orchestrator.cli.asking import Aborted, Dialogue
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.config.addresses import parse_address, parse_url
from s3orchestrator.config.loader import load
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.config.scalars import (
    ScalarError,
    Secret,
    escape,
    parse_secret,
    parse_size,
    parse_text,
)
from s3orchestrator.config.sections import (
    BackendConfig,
    BucketConfig,
    Config,
    CredentialConfig,
    DatabaseConfig,
    KeyPairConfig,
    UserConfig,
)
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.config.writing import document
from s3orchestrator.protocol.addressing import is_valid_bucket_name

Named = TypeVar("Named", BackendConfig, BucketConfig)

LISTEN = "127.0.0.1:9000"
DATA = "s3o-data"

_HEAD = """\
# Written by s3orchestrator init. It holds secrets: keep it to those who may have them.
# Only what differs from the defaults is here; the configuration reference has every setting.

"""


class InitOptions(CommandOptions):
    """What `init` may be told."""

    synopsis = "Usage: s3orchestrator init [--config FILE] [--defaults]"
    description = """\
Asks where to listen, where to store and who may come, makes up credentials, and writes
a file that validates, readable by nobody else."""

    optParameters = [["config", "c", "config.yaml", "The file to write."]]
    optFlags = [["defaults", "d", "Ask nothing: one directory, one bucket, one user. Never overwrites."]]


def run(
    options: InitOptions,
    stdout: TextIO,
    stderr: TextIO,
    *,
    stdin: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Ask, check and write; returns 0 if a file was written."""
    path = Path(options["config"])
    if options["defaults"] and path.exists():
        stderr.write(f"{path} exists already: name another file with --config, or remove it.\n")
        return 1
    dialogue = Dialogue(sys.stdin if stdin is None else stdin, stdout)
    try:
        config = _defaults() if options["defaults"] else _interview(path, dialogue)
    except Aborted:
        stderr.write(f"\nAborted. {path} was not written.\n")
        return 1
    return _finish(path, config, environ, dialogue, stderr)


def _defaults() -> Config:
    data = Path(DATA).resolve()
    disk = BackendConfig(name="disk", type="directory", path=str(data / "disk"))
    storage = BucketConfig(name="storage", credentials=(_made_up_credential(),))
    return _config(LISTEN, data, (disk,), (storage,), (_user("operator", ("storage",)),))


def _config(
    listen: str,
    data: Path,
    backends: tuple[BackendConfig, ...],
    buckets: tuple[BucketConfig, ...],
    users: tuple[UserConfig, ...],
) -> Config:
    return Config(
        server=ServerConfig(listen_addr=listen),
        database=DatabaseConfig(driver="sqlite", path=str(data / "ledger.db")),
        backends=backends,
        buckets=buckets,
        users=users,
    )


def _interview(path: Path, dialogue: Dialogue) -> Config:
    if path.exists() and not dialogue.confirm(f"{path} exists. Overwrite it?", default=False):
        raise Aborted
    dialogue.say("An empty answer takes what is in brackets; Ctrl-C writes nothing.")
    dialogue.say("A key or a secret may be ${NAME}: it is then taken from the environment at each start.\n")
    listen = dialogue.ask("Address to listen on", _address, LISTEN)
    data = Path(dialogue.ask("Directory for the ledger", _given, DATA)).resolve()
    dialogue.say("\nBackends: where objects are stored.")
    backends = _several("backend", partial(_ask_backend, dialogue, data), dialogue)
    dialogue.say("\nBuckets: what clients see.")
    buckets = _several("bucket", partial(_ask_bucket, dialogue), dialogue)
    dialogue.say("\nA user may use all of these buckets, and create more.")
    user = dialogue.ask("Name of a user, or none", _given, "operator")
    users = () if user == "none" else (_user(user, tuple(bucket.name for bucket in buckets)),)
    return _config(listen, data, backends, buckets, users)


def _several(what: str, ask: Callable[[list[str]], Named], dialogue: Dialogue) -> tuple[Named, ...]:
    """Ask for one after the other; `ask` is given the names there are already."""
    found = [ask([])]
    while dialogue.confirm(f"Another {what}?", default=False):
        found.append(ask([each.name for each in found]))
    return tuple(found)


def _ask_backend(dialogue: Dialogue, data: Path, taken: list[str]) -> BackendConfig:
    number = len(taken) + 1
    name = dialogue.ask("Backend name", _free(_given, taken), f"backend-{number}")
    kind = dialogue.ask("  Type, directory or s3", _kind, "directory")
    if kind == "directory":
        path = dialogue.ask("  Directory", _apart_from(data), str(data / name))
        return BackendConfig(name=name, type="directory", path=path, quota_bytes=_ask_quota(dialogue))
    return BackendConfig(
        name=name,
        endpoint=dialogue.ask("  Endpoint (https://…)", _url),
        region=dialogue.ask("  Region", _given, "us-east-1"),
        bucket=dialogue.ask("  Bucket there", _given),
        access_key_id=dialogue.ask("  Access key id", _given),
        secret_access_key=dialogue.ask("  Secret access key", _secret, hidden=True),
        force_path_style=dialogue.confirm(
            "  Bucket in the path, as MinIO and radosgw want it?", default=False
        ),
        quota_bytes=_ask_quota(dialogue),
    )


def _ask_quota(dialogue: Dialogue) -> int:
    return dialogue.ask("  Quota, such as 20GB; 0 for unlimited", parse_size, "0")


def _ask_bucket(dialogue: Dialogue, taken: list[str]) -> BucketConfig:
    name = dialogue.ask("Bucket name", _free(_bucket_name, taken), "" if taken else "storage")
    made_up = _made_up_credential()
    key = dialogue.ask("  Clients' access key id", _access_key, made_up.access_key_id)
    secret = dialogue.ask('  Clients\' secret access key, or "random"', _secret, "random", hidden=True)
    if secret == "random":
        secret = made_up.secret_access_key
    return BucketConfig(
        name=name, credentials=(CredentialConfig(access_key_id=key, secret_access_key=secret),)
    )


def _given(answer: str) -> str:
    if not answer:
        raise ScalarError("is needed")
    return parse_text(answer)


def _address(answer: str) -> str:
    return str(parse_address(answer))


def _apart_from(data: Path) -> Callable[[str], str]:
    def parse_directory(answer: str) -> str:
        path = Path(_given(answer)).resolve()
        if data.is_relative_to(path):
            raise ScalarError("would have the ledger among the objects: name another one, or one below it")
        return str(path)

    return parse_directory


def _url(answer: str) -> str:
    return parse_url(_given(answer))


def _secret(answer: str) -> Secret:
    return parse_secret(_given(answer))


def _kind(answer: str) -> str:
    if answer not in ("directory", "s3"):
        raise ScalarError("is neither directory nor s3")
    return answer


def _access_key(answer: str) -> str:
    if any(character in "/,= " for character in _given(answer)):
        raise ScalarError("must not hold a slash, a comma, an equals sign or a space")
    return answer


def _bucket_name(answer: str) -> str:
    if not is_valid_bucket_name(answer):
        raise ScalarError(
            "is not a name S3 allows: 3 to 63 of a-z, 0-9, - and ., and not one of our own paths"
        )
    return answer


def _free(parse: Callable[[str], str], taken: Collection[str]) -> Callable[[str], str]:
    def parse_free(answer: str) -> str:
        if answer in taken:
            raise ScalarError("is there already")
        return parse(answer)

    return parse_free


def _made_up_credential() -> CredentialConfig:
    key = "".join(choice(ascii_uppercase + digits) for _ in range(20))  # as long as Amazon's
    return CredentialConfig(access_key_id=key, secret_access_key=Secret(token_urlsafe(30)))


def _user(name: str, buckets: tuple[str, ...]) -> UserConfig:
    made_up = _made_up_credential()
    pair = KeyPairConfig(access_key_id=made_up.access_key_id, secret_access_key=made_up.secret_access_key)
    return UserConfig(name=name, credentials=(pair,), create_buckets=True, buckets=buckets)


def _finish(
    path: Path, config: Config, environ: Mapping[str, str], dialogue: Dialogue, stderr: TextIO
) -> int:
    text = _HEAD + document(config, dollars=_keep_variables)
    unset = [name for name in dict.fromkeys(_VARIABLE.findall(text)) if name not in environ]
    try:
        load(text, {**environ, **dict.fromkeys(unset, "set-later")})
        created = _create_directories(config)
        _write(path, text)
    except ConfigErrors as errors:
        stderr.writelines(f"error: {problem}\n" for problem in errors.problems)
        stderr.write(f"{path} was not written: these answers do not go together.\n")
        return 1
    except OSError as error:
        stderr.write(f"{path} was not written: {error.filename or path}: {error.strerror}\n")
        return 1
    _tell(dialogue, path, created, unset)
    return 0


_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")


def _keep_variables(text: str) -> str:
    """An answer that is a reference stays one; in any other a dollar is a dollar."""
    return text if re.fullmatch(r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}", text) else escape(text)


def _create_directories(config: Config) -> list[Path]:
    """Create what is to be written to; returns what was not there."""
    wanted = [Path(config.database.path).parent, *(Path(each.path) for each in config.backends if each.path)]
    missing = [directory for directory in wanted if not directory.is_dir()]
    for directory in missing:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return missing


def _write(path: Path, text: str) -> None:
    """Put the file there in one step, from the first moment readable by its owner alone."""
    descriptor, aside = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def _tell(dialogue: Dialogue, path: Path, created: list[Path], unset: list[str]) -> None:
    dialogue.say(f"\nWrote {path}, readable by you only: it holds the credentials that clients need.")
    for directory in created:
        dialogue.say(f"Created {directory}.")
    if unset:
        dialogue.say(f"Before the start, set {', '.join(unset)} in the environment.")
    dialogue.say(f"\nCheck it:  s3orchestrator validate --config {quote(str(path))}")
    dialogue.say(f"Serve:     s3orchestrator serve --config {quote(str(path))}")
