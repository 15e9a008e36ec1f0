"""The files that README.md and docs/ show: their own programs accept them, where these are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cuberouted.config import load
from tests.pages import PROJECT, Block, all_blocks, blocks

CREDENTIALS = Path("/run/credentials/cuberouted.service")
CONFIG = "/etc/cuberouted.conf"
BLOCKS = all_blocks()
SHOWN = [block for block in BLOCKS if block.path == CONFIG]

REST = {
    r"\[peer |remote_mgmt_ip": "remote_mgmt_ip = 10.200.200.5\n",
    r"mgmt_interface": "mgmt_interface = tun1\n",
    r"\[openvpn |data_interface": "data_interface = tun0\n",
}
"""What a file needs, and what completes lines that do not say it themselves."""


def whole(block: Block) -> str:
    """The text of *block*, completed if it is a part of a file."""
    if not block.is_part:
        return block.text
    missing = [line for said, line in REST.items() if not re.search(said, block.text)]
    return "".join(missing) + block.text


@pytest.mark.parametrize("block", SHOWN, ids=str)
def test_configurations_are_valid(tmp_path, block):
    path = tmp_path / "cuberouted.conf"
    path.write_text(whole(block))
    config = load(path)
    assert config.peers
    # what the unit's user can read
    secrets = [openvpn.mgmt_pass_file for openvpn in config.openvpns] + [config.secret_key_file]
    assert all(secret is None or secret.parent == CREDENTIALS for secret in secrets)


def test_configurations_are_found():
    assert len(SHOWN) >= 10
    assert {"tutorial.md", "three-servers.md", "encryption.md"} <= {b.page.name for b in SHOWN}


def run(*argv: str) -> None:
    """Runs a program's check of its own configuration."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


def bird(path: Path) -> None:
    run("bird", "-p", "-c", str(path))


def frr(path: Path) -> None:
    run("vtysh", "--dryrun", "--inputfile", str(path))


def nftables(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("nft reads the kernel's tables even for a check, which needs root")
    run("unshare", "--net", "nft", "--check", "--file", str(path))


def dnsmasq(path: Path) -> None:
    run("dnsmasq", "--test", f"--conf-file={path}")


def wireguard(path: Path) -> None:
    run("wg-quick", "strip", str(path))


def unit(path: Path) -> None:
    """A drop-in of cuberouted.service, beside it."""
    service = path.parent / "cuberouted.service"
    text = (PROJECT / "systemd/cuberouted.service").read_text("utf-8")
    service.write_text(re.sub("=/usr/bin/cuberouted", "=/bin/true", text))
    drop_ins = path.parent / "cuberouted.service.d"
    drop_ins.mkdir()
    shutil.copy(path, drop_ins)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(service)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "cuberouted" not in done.stdout + done.stderr, done


def sysctl(path: Path) -> None:
    """Every line sets what this kernel has (an interface of the example it need not have)."""
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, _, value = line.partition(" = ")
            assert re.fullmatch(r"\d+", value), line
            known = Path("/proc/sys") / name.replace(".", "/").replace("/eth0/", "/lo/")
            assert known.exists(), line


CHECKS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "/etc/bird/": ("bird", bird),
    "/etc/frr/frr.conf": ("vtysh", frr),
    "/etc/nftables.conf": ("nft", nftables),
    "/etc/dnsmasq.d/": ("dnsmasq", dnsmasq),
    "/etc/wireguard/": ("wg-quick", wireguard),
    "/etc/systemd/system/cuberouted.service.d/": ("systemd-analyze", unit),
    "/etc/sysctl.d/": ("sh", sysctl),
}
"""By the beginning of a file's name: the program that must be there, and the check.

`tests/lab/haproxy.py` runs HAProxy's files.
"""


def checkable(block: Block) -> bool:
    return block.path is not None and block.path.startswith(tuple(CHECKS))


@pytest.mark.parametrize("block", [*filter(checkable, BLOCKS)], ids=lambda b: f"{b}-{b.path}")
def test_files_of_other_programs_are_valid(tmp_path, block):
    [(program, check)] = [found for begin, found in CHECKS.items() if block.path.startswith(begin)]
    if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        pytest.skip(f"{program} is not installed")
    path = tmp_path / Path(block.path).name
    path.write_text(block.text)
    path.chmod(0o600)
    check(path)


SHIPPED = {
    path.name: path
    for path in (*PROJECT.glob("systemd/drop-ins/*.conf"), *PROJECT.glob("systemd/*.d/*.conf"))
} | {"openvpn-status.conf": PROJECT / "systemd/openvpn-status.tmpfiles"}
"""What the project ships, by the name that it has on a host."""

IN_FOLDERS = ("/etc/systemd/system/", "/etc/tmpfiles.d/")


def test_a_file_that_is_shipped_is_shown_as_it_is():
    shown = [(Path(block.path or ""), block) for block in BLOCKS]
    shown = [(path, block) for path, block in shown if str(path).startswith(IN_FOLDERS)]
    assert len(shown) >= 5
    for path, block in shown:
        shipped = SHIPPED[path.name].read_text("utf-8").splitlines()
        lines = block.text.splitlines()[1:]
        assert [line for line in lines if line not in shipped] == [], block


def test_the_tutorial_s_commands_are_shell():
    commands = [
        block.text
        for block in blocks(PROJECT / "docs/tutorial.md")
        if block.path is None and not block.session
    ]
    assert len(commands) >= 10
    for text in commands:
        run("bash", "-n", "-c", text)
