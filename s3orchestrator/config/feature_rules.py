"""What must hold between the settings of one feature, for the sections of `features`."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable

from s3orchestrator.config.problems import Problems
from s3orchestrator.config.scalars import format_duration, format_size
from s3orchestrator.config.sections import Config
from s3orchestrator.protocol.addressing import RESERVED_NAMES, is_servable_bucket_name

# What needs no encoding, so that there is one way to ask for it; a slash at the end would be another path.
_METRICS_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_OTHERS_PATHS = RESERVED_NAMES - {"metrics"}


def _usage_flush(config: Config, problems: Problems) -> None:
    flush = config.usage_flush
    if flush.fast_interval >= flush.interval:
        problems.error(
            "usage_flush.fast_interval",
            f"is {format_duration(flush.fast_interval)}, which is not less than interval "
            f"({format_duration(flush.interval)})",
            using=["usage_flush.interval"],
        )
    if flush.adaptive_enabled and not any(backend.has_usage_limits for backend in config.backends):
        problems.warn("usage_flush.adaptive_enabled", "has no effect: no backend has a monthly limit")


def _lifecycle(config: Config, problems: Problems) -> None:
    prefixes = (
        (f"lifecycle.rules[{i}].prefix", rule.prefix) for i, rule in enumerate(config.lifecycle.rules)
    )
    problems.unique(prefixes)


def _cache(config: Config, problems: Problems) -> None:
    cache = config.cache
    if cache.max_object_size > cache.max_size:
        problems.error(
            "cache.max_object_size",
            f"is {format_size(cache.max_object_size)}, more than max_size ({format_size(cache.max_size)})",
            using=["cache.max_size"],
        )


def _metrics(config: Config, problems: Problems) -> None:
    metrics = config.telemetry.metrics
    path, listen = "telemetry.metrics.path", "telemetry.metrics.listen"
    if not metrics.enabled:
        if metrics.listen:
            problems.warn(listen, "has no effect while telemetry.metrics.enabled is false")
        return
    if not _METRICS_PATH.fullmatch(metrics.path):
        problems.error(
            path,
            f'"{metrics.path}" is not such a path as /metrics: write letters, digits and -._~ after each /',
            using=[path],
        )
        return
    first = metrics.path.split("/")[1]
    if first in _OTHERS_PATHS:
        taken = f'"{metrics.path}" is taken by {first}: choose another, such as /metrics'
        problems.error(path, taken, using=[path])
    elif not metrics.listen and is_servable_bucket_name(first):
        problems.error(
            path,
            f'"{metrics.path}" is the path of a bucket "{first}": let it begin with /metrics or /~, or set '
            "telemetry.metrics.listen",
            using=[path, listen],
        )
    if metrics.listen and metrics.listen in [listener.address for listener in config.server.places]:
        problems.error(
            listen,
            "is where clients are served: give another port",
            using=[listen, "server.listen_addr", "server.listeners"],
        )


def _trusted_proxies(config: Config, problems: Problems) -> None:
    for index, proxy in enumerate(config.rate_limit.trusted_proxies):
        if not isinstance(proxy, str) and proxy.prefixlen == 0:
            problems.warn(
                f"rate_limit.trusted_proxies[{index}]",
                "believes everybody: whoever connects may send any address for its own",
            )


def _tracing(config: Config, problems: Problems) -> None:
    tracing = config.telemetry.tracing
    if tracing.enabled and not tracing.endpoint:
        path = "telemetry.tracing.endpoint"
        problems.error(path, "is required when tracing is enabled", using=[path])


def _encryption(config: Config, problems: Problems) -> None:
    encryption = config.encryption
    if encryption.chunk_size & (encryption.chunk_size - 1):
        path = "encryption.chunk_size"
        problems.error(path, "must be a power of two, such as 64KB", using=[path])
    for path, key in (
        ("encryption.master_key", encryption.master_key),
        *((f"encryption.previous_keys[{i}]", key) for i, key in enumerate(encryption.previous_keys)),
    ):
        if key and not _is_key(key):
            problems.error(path, "the value (not shown) must be 32 bytes in Base64", using=[path])
    if encryption.enabled:
        _key_source(config, problems)


def _key_source(config: Config, problems: Problems) -> None:
    encryption = config.encryption
    names = ("master_key", "master_key_file", "vault")
    given = [name for name in names if getattr(encryption, name)]
    if len(given) != 1:
        found = f"there are {' and '.join(given)}" if given else "there is none"
        problems.error(
            "encryption",
            f"needs exactly one of {', '.join(names)}; {found}",
            using=[f"encryption.{name}" for name in names],
        )
    vault = encryption.vault
    if vault is not None and bool(vault.token) == bool(vault.token_file):
        using = ["encryption.vault", "encryption.vault.token", "encryption.vault.token_file"]
        problems.error("encryption.vault", "needs exactly one of token and token_file", using=using)


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == 32
    except ValueError:
        return False


def _dashboard(config: Config, problems: Problems) -> None:
    if not config.ui.enabled:
        return
    for name in ("admin_key", "admin_secret", "session_secret"):
        path = f"ui.{name}"
        if not getattr(config.ui, name):
            problems.error(path, "is required when ui.enabled is true", using=[path])


SHORTEST_TOKEN = 16


def _admin_api(config: Config, problems: Problems) -> None:
    token = config.ui.api_token
    path = "ui.admin_token" if config.ui.admin_token else "ui.admin_key"
    if not token or problems.is_bad(path):
        return
    if not (token.isascii() and token.isprintable()) or token != token.strip():
        problems.error(
            path, "the value (not shown) must be printable ASCII: it is sent in a header", using=[path]
        )
    elif len(token) < SHORTEST_TOKEN:
        problems.warn(
            path,
            f"has fewer than {SHORTEST_TOKEN} characters, and whoever guesses it may use the admin API: take "
            "what `openssl rand -hex 16` prints",
        )


def _notifications(config: Config, problems: Problems) -> None:
    for index, endpoint in enumerate(config.notifications.endpoints):
        path = f"notifications.endpoints[{index}].events"
        if not endpoint.events:
            problems.error(path, "at least one is needed, such as object.*", using=[path])
        for each, pattern in enumerate(endpoint.events):
            if "*" in pattern[:-1]:
                below = f"{path}[{each}]"
                problems.error(below, f'"{pattern}" may have a * at its end only', using=[below])


RULES: tuple[Callable[[Config, Problems], None], ...] = (
    _usage_flush,
    _lifecycle,
    _cache,
    _metrics,
    _trusted_proxies,
    _tracing,
    _encryption,
    _dashboard,
    _admin_api,
    _notifications,
)
