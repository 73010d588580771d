"""The package upgraded, removed and purged."""

from __future__ import annotations

from pathlib import Path

from tests.package.pages import commands
from tests.package.roots import CONFIGURATION, DATA, NAME, VARIABLES, Root, newer, package, version


def unattended(line: str) -> str:
    """Return a command of a page so that it asks nothing."""
    return line.replace("apt-get", "apt-get -y -q -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef")


def installed(root: Root) -> str:
    """Return the version that dpkg knows of, and how it stands."""
    return root.run("dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", NAME)


def test_upgrade(root: Root, tmp_path: Path) -> None:
    """An upgrade keeps what was edited, takes the rest from the new package, and leaves the units alone."""
    edited = root.at(CONFIGURATION)
    edited.write_text(edited.read_text().replace("PHOTOSKEY", "MYKEY"))
    root.shell(f"chmod 600 {CONFIGURATION}; systemctl enable {NAME}.service")
    file = root.bring(newer(package(), tmp_path))
    for line in commands("upgrade", "Upgrading"):
        root.shell(f"cd /srv; {unattended(line).replace(f'{NAME}_0.2.0_amd64.deb', file.name)}")
    assert installed(root) == f"{version()}+next installed"
    assert "MYKEY" in edited.read_text()
    assert not edited.read_text().startswith("# Of the next version.")
    assert root.described(CONFIGURATION) == "root:s3orchestrator 600"
    assert root.at(VARIABLES).read_text().startswith("# Of the next version.")
    assert root.described(VARIABLES) == "root:s3orchestrator 640"
    assert root.run("systemctl", "is-enabled", f"{NAME}.service").strip() == "enabled"
    assert root.run("systemctl", "is-enabled", f"{NAME}.socket", status=1).strip() == "disabled"
    assert root.run("s3orchestrator", "version")


def test_removal(root: Root) -> None:
    """Removal keeps configuration and data; purging keeps the data, says where, and leaves no other trace."""
    remove, purge, *forget = commands("remove")
    root.shell(f"runuser -u {NAME} -- sh -c 'echo precious >{DATA}/ledger.db; mkdir {DATA}/objects'")
    root.at("/srv/objects").mkdir()
    root.at(CONFIGURATION.parent / "own.key").write_text("a key")

    root.shell(unattended(remove))
    assert not root.at("/usr/lib/s3orchestrator").exists()
    assert root.at(CONFIGURATION).exists()
    assert root.at(VARIABLES).exists()

    said = root.shell(unattended(purge))
    assert f"kept {DATA}" in said
    assert f"{DATA}/ledger.db" in said
    assert root.at(DATA / "ledger.db").read_text() == "precious\n"
    assert root.at("/srv/objects").is_dir()
    assert traces(root) == [str(DATA), str(CONFIGURATION.parent)]
    assert root.run("ls", CONFIGURATION.parent) == "own.key\n"

    # It can be installed again, and finds its data with their owner.
    root.shell(unattended(f"apt-get install /srv/{package().name}"))
    assert root.described(DATA / "ledger.db") == "s3orchestrator:s3orchestrator 644"
    assert root.described(CONFIGURATION) == "root:s3orchestrator 640"

    root.shell(f"rm -r {DATA}/* {CONFIGURATION.parent}/own.key")
    assert "kept" not in root.shell(unattended(purge))
    assert traces(root) == []
    root.at(DATA).mkdir()
    for line in forget:
        root.shell(line)


def traces(root: Root) -> list[str]:
    """Return where there is something with our name, but for what Debian's tools keep of everything."""
    places = ("/proc", "/sys", "/dev", "/run", "/srv", "/var/log", "/var/cache")
    elsewhere = " -o ".join(f"-path {place}" for place in places)
    found = f"find / \\( {elsewhere} \\) -prune -o -name '*{NAME}*' -prune -print"
    return sorted(root.shell(found).splitlines(), reverse=True)
