"""A daemon that listens with TLS in several ways, and beside that plainly; and who may connect to it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from tests.ports import free_port
from tests.unit.web.certificates import Authority

OTHER_HOST = "s3.example.net"  # what the second certificate is for
_SECTION = """\
server:
  listeners:
    - {{address: "127.0.0.1:{plain}"}}
    - {{address: "127.0.0.1:{tls}", tls: {{{pair}, {way}, certificates: [{{{other}}}]}}}}
    - {{address: "127.0.0.1:{modern}", tls: {{{pair}, {way}, min_version: "1.3"}}}}
    - {{address: "127.0.0.1:{mutual}", tls: {{{pair}, {way}, client_ca_file: "{ca_file}"}}}}
"""


@define(eq=False)
class Secured:
    """
    Certificates below `directory`, and where they are served.

    `tls` has a second certificate, for `OTHER_HOST`; `modern` speaks TLS 1.3 only; `mutual` demands
    a certificate of clients. `plain` is the port of those who know nothing of all that. `on_socket` is the
    setting of that name.
    """

    directory: Path
    plain: int
    on_socket: bool = True
    authority: Authority = field(factory=Authority)
    tls: int = field(factory=free_port)
    modern: int = field(factory=free_port)
    mutual: int = field(factory=free_port)
    ca_file: str = field(init=False)
    pair: tuple[str, str] = field(init=False)
    other: tuple[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = self.authority.write(self.directory / "ca.crt")
        self.pair = self.authority.issue("first", self.directory)
        self.other = self.authority.issue("second", self.directory, [OTHER_HOST])

    def secure(self, config: Path, settings: Mapping[str, str] | None = None) -> None:
        """Put the listeners, and more settings, in place of the section `server`, which is the first."""
        _, begin, rest = config.read_text().partition("\ndatabase:")
        section = _SECTION.format(
            plain=self.plain,
            tls=self.tls,
            modern=self.modern,
            mutual=self.mutual,
            pair=_yaml(self.pair),
            way=f"on_socket: {str(self.on_socket).lower()}",
            other=_yaml(self.other),
            ca_file=self.ca_file,
        )
        lines = [f"  {name}: {value}" for name, value in (settings or {}).items()]
        config.write_text(section + "\n".join(lines) + begin + rest)

    def context(self, *, name: str | None = None, of: Authority | None = None) -> ssl.SSLContext:
        """What a client trusts; with `name` it has a certificate of that name, from our authority or `of`."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if name is not None:
            context.load_cert_chain(*(of or self.authority).issue(name, self.directory))
        return context


def _yaml(pair: tuple[str, str]) -> str:
    return f'cert_file: "{pair[0]}", key_file: "{pair[1]}"'
