"""
What must hold between settings.

Each rule says which values it looked at, so that it keeps quiet while one of them is wrong.

Errors are what cannot work or would not do what was asked; warnings are what works, but perhaps not as meant.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from s3orchestrator.config import feature_rules, listening_rules
from s3orchestrator.config.problems import Problems
from s3orchestrator.config.scalars import format_duration
from s3orchestrator.config.sections import BackendConfig, Config, CredentialConfig, KeyPairConfig
from s3orchestrator.config.settings import settings_of
from s3orchestrator.protocol.addressing import (
    RESERVED_NAMES,
    is_reserved_name,
    is_servable_bucket_name,
    is_valid_bucket_name,
)


def check(config: Config, problems: Problems) -> None:
    """Apply every rule."""
    for rule in _RULES:
        rule(config, problems)


def _time_limits(config: Config, problems: Problems) -> None:
    server = config.server
    for shorter, longer in (("read_header_timeout", "read_timeout"), ("backend_timeout", "write_timeout")):
        limit, bound = getattr(server, shorter), getattr(server, longer)
        if limit > bound:
            problems.error(
                f"server.{shorter}",
                f"is {format_duration(limit)}, which is more than {longer} ({format_duration(bound)}): "
                f"shorten it, or raise server.{longer}",
                using=[f"server.{longer}"],
            )


def _admission(config: Config, problems: Problems) -> None:
    reads, writes = config.server.max_concurrent_reads, config.server.max_concurrent_writes
    if (reads > 0) != (writes > 0):
        alone, other = ("reads", "writes") if reads else ("writes", "reads")
        problems.warn(
            f"server.max_concurrent_{alone}",
            f"has no effect without max_concurrent_{other}: until both are set, max_concurrent_requests "
            f"({config.server.max_concurrent_requests}) limits everything",
        )


def _domains(config: Config, problems: Problems) -> None:
    problems.unique(((f"server.domains[{i}]", name) for i, name in enumerate(config.server.domains)))


def _buckets(config: Config, problems: Problems) -> None:
    if not config.buckets and not any(user.create_buckets for user in config.users):
        problems.error(
            "buckets", "at least one is needed, unless a user has create_buckets: true", using=["users"]
        )
    problems.unique(((f"buckets[{i}].name", bucket.name) for i, bucket in enumerate(config.buckets)))
    for index, bucket in enumerate(config.buckets):
        _bucket_name(f"buckets[{index}].name", bucket.name, problems)


def _bucket_name(path: str, name: str, problems: Problems) -> None:
    if is_reserved_name(name):
        reserved = ", ".join(sorted(RESERVED_NAMES))
        problems.error(
            path, f'"{name}" is reserved ({reserved}, and what starts with ~): choose another', using=[path]
        )
    elif not is_servable_bucket_name(name):
        problems.error(
            path,
            f'"{name}" cannot be a bucket: use letters, digits, dots, hyphens and underscores, at most 255, '
            "beginning with a letter, a digit or an underscore",
            using=[path],
        )
    elif not is_valid_bucket_name(name):
        problems.warn(
            path,
            f'"{name}" is not a name S3 allows today (3 to 63 of a-z, 0-9, - and .): some clients refuse it',
        )


def _bucket_access(config: Config, problems: Problems) -> None:
    listed = {name for user in config.users for name in user.buckets}
    for index, bucket in enumerate(config.buckets):
        path = f"buckets[{index}].credentials"
        if not bucket.credentials and bucket.name not in listed:
            problems.error(
                path,
                "nobody may use this bucket: add a credential here, or a user that lists it",
                using=[f"buckets[{index}].name", "users"],
            )
        for each, credential in enumerate(bucket.credentials):
            _credential(f"{path}[{each}]", credential, problems)


def _credential(path: str, credential: CredentialConfig, problems: Problems) -> None:
    key, secret = credential.access_key_id, credential.secret_access_key
    using = [f"{path}.{name}" for name in ("access_key_id", "secret_access_key", "token")]
    if key and not secret:
        problems.error(f"{path}.secret_access_key", "is required beside access_key_id", using=using)
    elif secret and not key:
        problems.error(f"{path}.access_key_id", "is required beside secret_access_key", using=using)
    elif not key and not credential.token:
        problems.error(path, "needs access_key_id and secret_access_key, or token", using=using)


def _users(config: Config, problems: Problems) -> None:
    problems.unique(((f"users[{i}].name", user.name) for i, user in enumerate(config.users)))
    known = {bucket.name for bucket in config.buckets}
    for index, user in enumerate(config.users):
        path = f"users[{index}]"
        if not user.credentials:
            problems.error(f"{path}.credentials", "at least one is needed", using=[f"{path}.credentials"])
        if not user.create_buckets and not user.buckets:
            problems.warn(
                path, "may use no bucket and create none: list buckets, or set create_buckets: true"
            )
        problems.unique(((f"{path}.buckets[{i}]", name) for i, name in enumerate(user.buckets)))
        for each, name in enumerate(user.buckets):
            if name not in known:
                problems.error(
                    f"{path}.buckets[{each}]",
                    f'"{name}" is not a bucket of this file: add it to buckets, or remove it here',
                    using=_bucket_names(config),
                )


def _bucket_names(config: Config) -> list[str]:
    return ["buckets", *(f"buckets[{i}].name" for i in range(len(config.buckets)))]


def _credential_names(config: Config, problems: Problems) -> None:
    keys = [(f"{path}.access_key_id", pair.access_key_id) for path, pair in _pairs(config)]
    for path, key in keys:
        if not key.isprintable() or any(character in "/,= " for character in key):
            problems.error(
                path, f'"{key}" must not hold a slash, a comma, an equals sign or a space', using=[path]
            )
    problems.unique(keys)
    tokens = (
        (f"{path}.token", pair.token) for path, pair in _pairs(config) if isinstance(pair, CredentialConfig)
    )
    problems.unique(tokens, shown=False)


def _pairs(config: Config) -> Iterator[tuple[str, CredentialConfig | KeyPairConfig]]:
    for index, bucket in enumerate(config.buckets):
        for each, credential in enumerate(bucket.credentials):
            yield f"buckets[{index}].credentials[{each}]", credential
    for index, user in enumerate(config.users):
        for each, pair in enumerate(user.credentials):
            yield f"users[{index}].credentials[{each}]", pair


def _database(config: Config, problems: Problems) -> None:
    database = config.database
    if database.engine == "sqlite":
        for name in ("host", "database", "user"):
            if getattr(database, name):
                problems.warn(f"database.{name}", "has no effect with SQLite")
        if database.path == ":memory:":
            problems.error(
                "database.path",
                "is no file, and the ledger must outlive the process: name one",
                using=["database.path"],
            )
        return
    for name in ("host", "database", "user"):
        if not getattr(database, name):
            problems.error(f"database.{name}", "is required for PostgreSQL", using=[f"database.{name}"])
    if database.min_conns > database.max_conns:
        problems.error(
            "database.min_conns",
            f"is {database.min_conns}, which is more than max_conns ({database.max_conns})",
            using=["database.max_conns"],
        )


def _mode(config: Config, problems: Problems) -> None:
    if config.mode != "all" and config.database.engine == "sqlite":
        left = {"api": "works in the background", "worker": "serves clients"}[config.mode]
        problems.warn(
            "mode", f"is {config.mode}, and SQLite is for one process: nobody {left} while this one runs"
        )


def _backends(config: Config, problems: Problems) -> None:
    if not config.backends:
        problems.error(
            "backends", "at least one is needed: a place where objects are stored", using=["backends"]
        )
    problems.unique(((f"backends[{i}].name", backend.name) for i, backend in enumerate(config.backends)))
    for index, backend in enumerate(config.backends):
        path = f"backends[{index}]"
        if not problems.is_bad(f"{path}.type") and not problems.is_bad(path):
            _backend_type(path, backend, problems)
            _BY_TYPE[backend.type](path, backend, problems)


def _backend_type(path: str, backend: BackendConfig, problems: Problems) -> None:
    for setting in settings_of(BackendConfig):
        kind = setting.meta.only_for
        if kind and kind != backend.type and getattr(backend, setting.name) != setting.default():
            below = f"{path}.{setting.name}"
            problems.error(
                below,
                f"is for type {kind}, and this is type {backend.type}: change one of them",
                using=[below],
            )


def _directory(path: str, backend: BackendConfig, problems: Problems) -> None:
    if not backend.path:
        problems.error(
            f"{path}.path", "is required for type directory: name the directory", using=[f"{path}.path"]
        )


def _memory(path: str, backend: BackendConfig, problems: Problems) -> None:
    problems.warn(f"{path}.type", f'"{backend.name}" forgets all its objects when the process stops')


def _workers(config: Config, problems: Problems) -> None:
    if config.server.workers == 1:
        return
    for index, backend in enumerate(config.backends):
        if backend.type == "memory":
            path = f"backends[{index}].type"
            problems.error(
                "server.workers",
                f'cannot be more than 1: each process would have a "{backend.name}" of its own in its memory',
                using=["server.workers", path],
            )


def _s3(path: str, backend: BackendConfig, problems: Problems) -> None:
    for name, hint in (("endpoint", "write https://… or http://…"), ("bucket", "name the bucket there")):
        if not getattr(backend, name):
            problems.error(f"{path}.{name}", f"is required for type s3: {hint}", using=[f"{path}.{name}"])
    for name in ("access_key_id", "secret_access_key"):
        given = bool(getattr(backend, name))
        using = [f"{path}.{name}", f"{path}.credential_source"]
        if backend.credential_source == "static" and not given:
            problems.error(
                f"{path}.{name}", "is required, unless credential_source is default_chain", using=using
            )
        elif backend.credential_source == "default_chain" and given:
            problems.error(
                f"{path}.{name}",
                "must be absent with credential_source: default_chain: remove one of them",
                using=using,
            )
    if backend.ca_file and backend.endpoint.startswith("http:"):
        problems.warn(f"{path}.ca_file", "has no effect: the endpoint is http")


_BY_TYPE: dict[str, Callable[[str, BackendConfig, Problems], None]] = {
    "s3": _s3,
    "directory": _directory,
    "memory": _memory,
}


_PLACE = {"s3": (".type", ".endpoint", ".bucket"), "directory": (".type", ".path"), "memory": (".type",)}


def _places(config: Config, problems: Problems) -> None:
    """
    No two backends in one place: each would count, and in the end delete, the other's objects as strays.
    """
    for index, backend in enumerate(config.backends):
        for before, other in enumerate(config.backends[:index]):
            if _overlap(backend, other):
                problems.error(
                    f"backends[{index}]",
                    f'"{backend.name}" stores in the same place as backends[{before}], "{other.name}": '
                    "give each a place of its own",
                    using=[
                        f"backends[{each}]{key}"
                        for each in (index, before)
                        for key in ("", *_PLACE[backend.type])
                    ],
                )


def _ledger_apart(config: Config, problems: Problems) -> None:
    """
    The ledger is in no backend: it would be a stray among the objects there, and be deleted with the strays.
    """
    database = config.database
    if database.engine != "sqlite":
        return
    ledger = PurePosixPath(posixpath.normpath(database.path))
    for index, backend in enumerate(config.backends):
        if backend.type != "directory" or not backend.path:
            continue
        if ledger.is_relative_to(posixpath.normpath(backend.path)):
            problems.error(
                "database.path",
                f'"{database.path}" is inside of backends[{index}], "{backend.name}", where only objects '
                "may be: stop the daemon, and move the ledger and the files beside it elsewhere",
                using=["database.path", f"backends[{index}].type", f"backends[{index}].path"],
            )


def _overlap(one: BackendConfig, other: BackendConfig) -> bool:
    if one.type != other.type:
        return False
    if one.type == "s3":
        same = one.endpoint.lower() == other.endpoint.lower() and one.bucket == other.bucket
        return same and bool(one.endpoint and one.bucket)
    if one.type == "directory" and one.path and other.path:
        first, second = (posixpath.join(posixpath.normpath(each.path), "") for each in (one, other))
        return first.startswith(second) or second.startswith(first)
    return False


def _copies(config: Config, problems: Problems) -> None:
    count, factor = len(config.backends), config.replication.factor
    if factor > max(count, 1):
        problems.error(
            "replication.factor",
            f"is {factor}, but there are only {count} backends: add backends, or lower it",
            using=["backends"],
        )
    if count > 1 and factor <= 1:
        problems.warn(
            "replication.factor",
            "is 1, and this release knows no more: each object is on one backend only, and cannot be read "
            "while that one is away",
        )
    unlimited = [backend.name for backend in config.backends if backend.is_unlimited]
    if len(unlimited) > 1 and factor <= 1:
        problems.warn(
            "backends", f"several are unlimited ({', '.join(unlimited)}), without replication between them"
        )
    if config.routing_strategy == "pack" and any(backend.is_unlimited for backend in config.backends[:-1]):
        problems.warn(
            "routing_strategy",
            f"is pack: what comes after the unlimited {unlimited[0]} is used only for what that cannot take",
        )


_RULES: tuple[Callable[[Config, Problems], None], ...] = (
    _time_limits,
    _admission,
    *listening_rules.RULES,
    _domains,
    _buckets,
    _bucket_access,
    _users,
    _credential_names,
    _database,
    _mode,
    _workers,
    _backends,
    _places,
    _ledger_apart,
    _copies,
    *feature_rules.RULES,
)
