"""
The admin API from outside: where it is, which token it wants, and what went wrong.

Of the configuration file only the address and the token are looked at, and neither if the
environment has both: an operator's shell does not have the secrets that a daemon is given.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from attrs import define, frozen

from s3orchestrator.config.addresses import Address
from s3orchestrator.config.loader import glance
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.config.server import ServerConfig

URL, TOKEN = "S3O_ADMIN_URL", "S3O_ADMIN_TOKEN"
_MOST_BYTES = 64 << 20
_NOT_THERE = (
    "there is no admin API at {where}: set ui.admin_token in the daemon's configuration and restart it,"
    " or name another address with --url"
)


class CannotAsk(Exception):
    """There is no answer; the text says why, and what to do about it."""


@frozen
class Trust:
    """Files (PEM) for TLS, each empty if there is none: an authority, and what we show of ourselves."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@frozen
class Place:
    """Where the admin API is, and the token it wants; `token_from` says where that is from."""

    url: str
    token: str
    token_from: str


@frozen
class Reply:
    """What was answered, whatever it was."""

    status: int
    document: Mapping[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether it was done."""
        return self.status < 300

    @property
    def error(self) -> str:
        """Why it was not."""
        return str(self.document.get("error", f"status {self.status}"))


def place(url: str | None, config: str | None, environ: Mapping[str, str]) -> Place:
    """
    Find out where to ask: options first, then the environment, then the configuration file.

    :param url: what `--url` says; :param config: what `--config` says.
    :raises CannotAsk: something is missing.
    """
    url = url or environ.get(URL, "")
    token, token_from = environ.get(TOKEN, ""), TOKEN
    if not url or not token:
        path = Path(config or "config.yaml")
        try:
            found = _from_file(path, environ, url_wanted=not url, token_wanted=not token)
        except ConfigErrors as errors:
            reasons = "; ".join(str(problem) for problem in errors.problems)
            raise CannotAsk(f"{reasons}. Without a file, set {URL} and {TOKEN}") from None
        url = url or found.url
        if not token:
            token, token_from = found.token, found.token_from
    if not (token.isascii() and token.isprintable()):
        raise CannotAsk(f"the token in {token_from} has characters that no header can hold")
    return Place(url, token, token_from)


def _from_file(path: Path, environ: Mapping[str, str], *, url_wanted: bool, token_wanted: bool) -> Place:
    config, problems = glance(path, environ)
    wanted = ("server.listen",) * url_wanted + ("ui.admin_token", "ui.admin_key") * token_wanted
    wrong = [
        problem
        for problem in problems.errors
        if problem.path.startswith(wanted) and problems.is_bad(problem.path)
    ]
    if config.ui.admin_token and token_wanted:
        wrong = [problem for problem in wrong if problem.path != "ui.admin_key"]
    if wrong:
        raise ConfigErrors(wrong)
    token = config.ui.api_token
    if token_wanted and not token:
        raise CannotAsk(
            f"{path} has no ui.admin_token, so that the daemon has no admin API: set one and restart it;"
            f" or set {TOKEN}"
        )
    url = _url_of(config.server) if url_wanted else ""
    if url_wanted and not url:
        raise CannotAsk(f"{path} has no address that could be asked: set {URL}, or give --url")
    name = "ui.admin_token" if config.ui.admin_token else "ui.admin_key"
    return Place(url, token, f"{name} of {path}")


def _url_of(server: ServerConfig) -> str:
    """The first address that can be asked with what is in the file; a mutual TLS listener cannot."""
    for listener in sorted(server.places, key=lambda listener: bool(listener.tls.client_ca_file)):
        if listener.address and isinstance(listener.place, Address):
            scheme = "https" if listener.tls.enabled else "http"
            return f"{scheme}://{listener.place.from_here}"
    return ""


@define(eq=False)
class Client:
    """
    Asks, one connection per call; `timeout` (seconds) is for each step of it.
    """

    _place: Place
    _timeout: float
    _trust: Trust = Trust()

    def get(self, path: str, **query: object) -> Reply:
        """Read something; parameters that are None or empty are left out."""
        return self._call("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **query: object) -> Reply:
        """Have something done."""
        return self._call("POST", path, query, body or {})

    def put(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Change something."""
        return self._call("PUT", path, {}, body)

    def _call(
        self, method: str, path: str, query: Mapping[str, object], body: Mapping[str, Any] | None
    ) -> Reply:
        url = _split(self._place.url)
        given = {name: value for name, value in query.items() if value not in (None, "")}
        target = f"{url.path.rstrip('/')}/admin/api/{path}" + (f"?{urlencode(given)}" if given else "")
        headers = {"X-Admin-Token": self._place.token, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            with closing(self._connection(url)) as connection:
                sent = None if body is None else json.dumps(body).encode()
                connection.request(method, target, sent, headers)
                answer = connection.getresponse()
                reply = self._read(answer.status, answer.read(_MOST_BYTES))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CannotAsk(_reason(error, self._place.url, self._timeout)) from error
        if reply.status == 401:
            raise CannotAsk(f"the token in {self._place.token_from} is not the daemon's: it answered 401")
        if reply.status == 429:
            raise CannotAsk(reply.error)
        return reply

    def _connection(self, url: SplitResult) -> http.client.HTTPConnection:
        assert url.hostname is not None
        if url.scheme == "http":
            return http.client.HTTPConnection(url.hostname, url.port, timeout=self._timeout)
        context = _context(self._trust)
        return http.client.HTTPSConnection(url.hostname, url.port, timeout=self._timeout, context=context)

    def _read(self, status: int, data: bytes) -> Reply:
        try:
            document = json.loads(data)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            # S3's own answers are XML: nothing of ours takes the path there.
            raise CannotAsk(_NOT_THERE.format(where=self._place.url))
        return Reply(status, document)


def _context(trust: Trust) -> ssl.SSLContext:
    for option in ("ca_file", "cert_file", "key_file"):
        path = getattr(trust, option)
        try:
            if path:
                Path(path).read_bytes()
        except OSError as error:
            raise CannotAsk(f"--{option.replace('_', '-')} {path}: {error.strerror}") from error
    if trust.key_file and not trust.cert_file:
        raise CannotAsk("--key-file belongs to --cert-file: give both")
    try:
        context = ssl.create_default_context(cafile=trust.ca_file or None)
    except ssl.SSLError as error:
        raise CannotAsk(f"--ca-file {trust.ca_file}: there is no certificate (PEM) in it") from error
    if trust.cert_file:
        try:
            context.load_cert_chain(trust.cert_file, trust.key_file or None)
        except ssl.SSLError as error:
            what = f"--cert-file {trust.cert_file} has no certificate with its key (PEM): give --key-file"
            if trust.key_file:
                what = f"{trust.cert_file} and {trust.key_file} are no certificate and its key (PEM)"
            raise CannotAsk(what) from error
    return context


def segment(text: str) -> str:
    """Return a name as one part of a path, with its slashes encoded."""
    return quote(text, safe="")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises where it is none
    except ValueError:
        is_right = False
    if not is_right or parts.query or parts.fragment or parts.username:
        raise CannotAsk(f"{url!r} is no address to ask at: write http://HOST:PORT or https://HOST:PORT")
    return parts


def _reason(error: Exception, url: str, timeout: float) -> str:
    match error:
        case ConnectionRefusedError():
            return f"nobody listens at {url}: start the daemon, or name another address with --url"
        case TimeoutError():
            return f"{url} gave no answer for {timeout:g} s: wait longer with --timeout"
        case socket.gaierror():
            return f"the host of {url} has no address: {error.strerror}"
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of {url} is not trusted ({error.verify_message}): name its authority with"
                " --ca-file, and with --url a name that it is for"
            )
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "RECORD_LAYER_FAILURE"):
            return f"{url} does not speak TLS: write http:// with --url"
        case ssl.SSLError() if "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error):
            return f"{url} wants to see a certificate: give one with --cert-file and --key-file"
        case ssl.SSLError():
            return f"{url}: TLS failed: {error.reason or error}"
        case http.client.HTTPException() | ConnectionResetError():
            what = "closed the connection without an answer" if not str(error) else f"answered {error!s:.60}"
            return f"{url} {what}: is it https://?" if url.startswith("http:") else f"{url} {what}"
        case _:
            return f"{url} cannot be asked: {error}"
