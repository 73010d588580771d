"""A configured service over HTTPS, and a client of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
from attrs import define, field
from botocore.config import Config

from tests.clients.deployment import tool_environment
from tests.package.pages import blocks, commands
from tests.package.roots import CONFIGURATION, VARIABLES, Root
from tests.package.services import Service
from tests.package.units import variables
from tests.running import wait_until
from tests.unit.web.certificates import Authority
from tests.workers import with_workers

BUCKET, KEY, SECRET = "photos", "PHOTOSKEY", "PHOTOS_SECRET"
_PRIVILEGED = range(600, 1024)


@define(eq=False)
class Deployment:
    """The package in `root`, configured as the page says, over HTTPS with an authority of its own."""

    root: Root
    home: Path
    service: Service = field(init=False)
    port: int = field(init=False)
    authority: Authority = field(init=False, factory=Authority)

    def __attrs_post_init__(self) -> None:
        self.port = low_port()
        self.service = Service(self.root)
        self.authority.write(self.bundle)
        for line in commands("deploy", "The first configuration"):
            if not line.startswith("systemctl"):
                self.root.shell(line)
        self.certify()
        for line in commands("deploy", "HTTPS"):
            self.root.shell(f"cd /srv; {line}")
        self.configure(f"server:\n  listen_addr: 127.0.0.1:{self.port}\n{self.tls}")

    @property
    def bundle(self) -> Path:
        """The file with the authority that clients trust."""
        return self.home / "authority.pem"

    @property
    def tls(self) -> str:
        """What is in the section `server` for HTTPS."""
        (server,) = blocks("deploy", "HTTPS", "yaml")
        _, first, rest = server.partition("  tls:\n")
        return first + rest

    @property
    def endpoint(self) -> str:
        """Where it serves."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def secret(self) -> str:
        """The secret that was made up for it."""
        return variables(self.root.at(VARIABLES))[SECRET]

    def certify(self) -> str:
        """Issue a certificate, leave it where the page's commands take it from, and return it."""
        certificate, _ = self.authority.issue("s3", self.root.at("/srv"))
        return Path(certificate).read_text()

    def renew(self) -> str:
        """Put another certificate in the place of the one that is served, and return it."""
        certificate = self.certify()
        self.root.shell(f"cd /srv; {commands('deploy', 'HTTPS')[-1]}")
        return certificate

    def shown(self) -> str:
        """The certificate that a new connection gets to see, and finds good."""
        return ssl.get_server_certificate(("127.0.0.1", self.port), ca_certs=str(self.bundle))

    def wait_for_port(self) -> None:
        """Return once somebody listens there; whoever does is not spoken to."""
        mine = f"0100007F:{self.port:04X} 00000000:0000 0A"  # 127.0.0.1, listening
        wait_until(lambda: mine in Path("/proc/net/tcp").read_text(), "nobody listens")

    def configure(self, server: str) -> None:
        """Put another section `server` into the configuration."""
        before, _, rest = self.configuration.read_text().partition("server:\n")
        _, _, after = rest.partition("\n\n")
        self.configuration.write_text(with_workers(f"{before}{server}\n{after}"))

    @property
    def configuration(self) -> Path:
        """The configuration file, for the host."""
        return self.root.at(CONFIGURATION)

    def client(self, key: str = KEY, secret: str | None = None) -> Any:
        """Return a boto3 client that trusts the authority, and asks once."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret or self.secret,
            verify=str(self.bundle),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def aws(self, *words: str | Path) -> str:
        """Run the AWS CLI of the host."""
        environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_CA_BUNDLE": str(self.bundle),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }
        ended = subprocess.run(
            ["aws", *map(str, words)],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=tool_environment(self.home, environment),
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, f"{ended.stdout}\n{self.service.tail()}"
        return ended.stdout


def low_port() -> int:
    """Return a port of the loopback interface that only root may open, and that nobody listens on."""
    for port in _PRIVILEGED:
        with closing(socket.socket()) as listening:
            try:
                listening.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")
