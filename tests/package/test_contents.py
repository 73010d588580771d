"""What is in the package, and how it is installed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.package.roots import CONFIGURATION, DATA, NAME, VARIABLES, Root, package, version
from tools import pins

MODES = {
    CONFIGURATION: "root:s3orchestrator 640",
    CONFIGURATION.parent: "root:s3orchestrator 750",
    VARIABLES: "root:s3orchestrator 640",
    DATA: "s3orchestrator:s3orchestrator 750",
    Path("/usr/bin/s3orchestrator"): "root:root 777",  # a link
    Path("/usr/lib/s3orchestrator/bin/s3orchestrator"): "root:root 755",
    Path("/usr/lib/s3orchestrator/bin/twistd"): "root:root 755",
    Path("/lib/systemd/system/s3orchestrator.service"): "root:root 644",
    Path("/lib/systemd/system/s3orchestrator.socket"): "root:root 644",
    Path("/usr/lib/sysusers.d/s3orchestrator.conf"): "root:root 644",
    Path("/usr/lib/tmpfiles.d/s3orchestrator.conf"): "root:root 644",
    Path("/usr/share/man/man8/s3orchestrator.8.gz"): "root:root 644",
    Path("/usr/share/bash-completion/completions/s3orchestrator"): "root:root 644",
    Path("/usr/share/doc/s3orchestrator/examples/s3orchestrator.yaml"): "root:root 644",
    Path("/usr/share/doc/s3orchestrator/copyright"): "root:root 644",
}
EXPOSURE = "16"  # tenths, of 100: what systemd may find to say against the unit


def test_lintian() -> None:
    """Debian's own checks find nothing but what is explained in the overrides."""
    command = ["lintian", "--allow-root", "--show-overrides", "--fail-on", "none", package()]
    ended = subprocess.run(command, text=True, capture_output=True, check=True)
    lines = ended.stdout.splitlines()
    assert [line for line in lines if line[:2] in ("E:", "W:")] == []
    overrides = (
        (Path(__file__).parents[2] / "debian/s3orchestrator.lintian-overrides").read_text().splitlines()
    )
    wanted = [line for line in overrides if not line.startswith("#")]
    assert sum(line.startswith("O:") for line in lines) == len(wanted), "an override without need"


def test_modes(pristine: Root) -> None:
    """Every file is there, and secrets are for root and the service only."""
    assert {place: pristine.described(place) for place in MODES} == MODES


def test_prepared(pristine: Root) -> None:
    """What the service's user could not write is there when the package is installed."""
    (place,) = pristine.at("/usr/lib/s3orchestrator/lib").glob("python3.*")
    assert (place / "site-packages/twisted/plugins/dropin.cache").stat().st_size
    assert list((place / "site-packages/s3orchestrator/app/__pycache__").glob("orchestrator.*.pyc"))


def test_lean(pristine: Root) -> None:
    """Of botocore there is what credentials need; of Python, the one it was built for and no other."""
    (models,) = pristine.at("/usr/lib/s3orchestrator/lib").glob("python3.*/site-packages/botocore/data")
    assert sum(each.is_dir() for each in models.iterdir()) < 10
    size, depends = pristine.run("dpkg-query", "-W", "-f", "${Installed-Size}\n${Depends}", NAME).splitlines()
    assert int(size) < 40_000, "kB"
    assert re.search(r"python3 \(>= 3\.(\d+)\), python3 \(<< 3\.(\d+)\)", depends), depends


def test_user(pristine: Root) -> None:
    """The service has a user of its own, who cannot log in."""
    entry = pristine.run("getent", "passwd", NAME).strip().split(":")
    assert entry[5:] == [str(DATA), "/usr/sbin/nologin"]
    assert int(entry[2]) < 1000


def test_nothing_started(pristine: Root) -> None:
    """Neither unit is enabled."""
    for unit in ("service", "socket"):
        assert pristine.run("systemctl", "is-enabled", f"{NAME}.{unit}", status=1).strip() == "disabled"


def test_units(pristine: Root) -> None:
    """systemd finds nothing wrong with the units, nor much that the service could do to the machine."""
    units = [f"{NAME}.service", f"{NAME}.socket"]
    assert pristine.run("systemd-analyze", "verify", *units) == ""
    pristine.run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", units[0])


def test_own_libraries(pristine: Root) -> None:
    """It has Twisted of its own, and PostgreSQL's library of the distribution."""
    script = "import psycopg2._psycopg as p, twisted; print(twisted.__file__, p.__file__)"
    twisted, psycopg = pristine.run("/usr/lib/s3orchestrator/bin/python3", "-c", script).split()
    assert twisted.startswith("/usr/lib/s3orchestrator/lib/")
    linked = pristine.run("ldd", psycopg)
    assert "libpq.so.5 => /lib/" in linked or "libpq.so.5 => /usr/lib/" in linked


def test_licences(pristine: Root) -> None:
    """The licence of everything that is brought along is told, with the version it is of."""
    told = pristine.at(f"/usr/share/doc/{NAME}/copyright").read_text().splitlines()
    titles = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in told}
    found = {pins.normal(name): version for name, version in titles.items()}
    wanted = pins.wanted_versions()
    for tool in pins.BUILD_ONLY:
        del wanted[tool]
    assert {name: found.get(name) for name in wanted} == wanted


def test_all_modules(pristine: Root) -> None:
    """Nothing that a module of ours imports was left out of the package."""
    script = (
        "import pkgutil, importlib, s3orchestrator\n"
        "for each in pkgutil.walk_packages(s3orchestrator.__path__, 's3orchestrator.'):\n"
        "    importlib.import_module(each.name)\n"
        "import google_crc32c._crc32c\n"
        "from botocore.session import Session\n"
        "for name in ('sts', 'sso', 'sso-oidc', 'signin'): Session().get_service_model(name)"
    )
    pristine.run("/usr/lib/s3orchestrator/bin/python3", "-I", "-c", script)


def test_commands(pristine: Root) -> None:
    """The command is there, of the package's version, and is completed; twistd knows us."""
    assert pristine.run("s3orchestrator", "version").strip() == f"s3orchestrator {version()}"
    assert "s3orchestrator" in pristine.run("/usr/lib/s3orchestrator/bin/twistd", "--help")
    completed = "/usr/share/bash-completion/completions/s3orchestrator"
    words = 'COMP_WORDS=(s3orchestrator admin sta) COMP_CWORD=2; _s3orchestrator; echo "${COMPREPLY[@]}"'
    assert pristine.shell(f"source {completed}; {words}").strip() == "status"
