"""`setup`, below a directory that stands for another system's root."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cuberouted.cli.context import PROBLEM
from cuberouted.cli.main import main
from cuberouted.cli.setup import command, program
from cuberouted.cli.setup.files import CONFIG, SYSTEMD, UNIT
from cuberouted.cli.setup.program import ProgramError, check_reach
from tests.fakes.cli import cli_runner

SYSTEMD_DIRECTORY = Path(__file__).parents[3] / "systemd"
INSTALLED = {
    "etc/cuberouted.conf",
    "usr/local/lib/systemd/system/cuberouted.service",
    "usr/local/lib/systemd/system/cuberouted@.service",
    "usr/local/lib/systemd/system/openvpn-server@.service.d/cuberouted.conf",
    "usr/local/lib/sysusers.d/cuberouted.conf",
    "usr/local/lib/tmpfiles.d/cuberouted.conf",
    "usr/local/share/bash-completion/completions/cuberouted",
    "usr/local/share/fish/vendor_completions.d/cuberouted.fish",
    "usr/local/share/zsh/site-functions/_cuberouted",
}


class Root:
    """A root file system, and `setup` on it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *arguments: str, status: int = 0) -> str:
        done = cli_runner().invoke(main, ["setup", "--root", str(self.path), *arguments])
        assert done.exit_code == status, done.output
        return done.stdout + done.stderr

    def file(self, name: object) -> Path:
        return self.path / str(name).lstrip("/")

    def write(self, name: object, text: str) -> None:
        self.file(name).parent.mkdir(parents=True, exist_ok=True)
        self.file(name).write_text(text, "utf-8")

    def files(self) -> set[str]:
        return {str(p.relative_to(self.path)) for p in self.path.rglob("*") if not p.is_dir()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "program", lambda: Path("/opt/cuberouted/bin/cuberouted"))
    (tmp_path / "etc").mkdir()
    return Root(tmp_path)


def test_everything_is_where_it_belongs_and_is_told(root):
    shown = root.run()
    assert root.files() == INSTALLED
    assert all(f"wrote {root.file(name)}\n" in shown for name in INSTALLED)
    for name in INSTALLED:
        assert stat.S_IMODE(root.file(name).stat().st_mode) == 0o644
    unit = root.file(UNIT).read_text("utf-8")
    assert "\nExecStart=/opt/cuberouted/bin/cuberouted /etc/cuberouted.conf\n" in unit
    assert "\nExecReload=/opt/cuberouted/bin/cuberouted check --syntax /etc/cub" in unit
    assert "=/usr/bin/cuberouted" not in unit
    for name, path in SYSTEMD.items():
        source = (SYSTEMD_DIRECTORY / name).read_text("utf-8")
        source = source.replace("=/usr/bin/cuberouted", "=/opt/cuberouted/bin/cuberouted")
        text, mark, _ = root.file(path).read_text("utf-8").rpartition("# written by `cuber")
        assert (text, bool(mark)) == (source, True)


def test_the_configuration_is_only_comments(root):
    root.run()
    lines = root.file(CONFIG).read_text("utf-8").splitlines()
    assert len(lines) > 20
    assert [line for line in lines if line and not line.startswith("#")] == []


def test_a_second_run_changes_nothing(root):
    root.run()
    before = {name: root.file(name).stat().st_mtime_ns for name in root.files()}
    assert root.run().splitlines()[0] == "all files are as they should be"
    assert {name: root.file(name).stat().st_mtime_ns for name in root.files()} == before


def test_a_run_after_an_update_changes_what_is_ours_and_tells_it(root, monkeypatch):
    root.run()
    root.write(CONFIG, "mgmt_interface = tun1\n")
    monkeypatch.setattr(command, "program", lambda: Path("/opt/other/bin/cuberouted"))
    shown = root.run().splitlines()
    units = [p for p in SYSTEMD.values() if p.suffix == ".service"]
    assert shown[:-1] == [f"updated {root.file(path)}" for path in units]
    assert "ExecStart=/opt/other/bin/cuberouted " in root.file(UNIT).read_text("utf-8")
    assert root.file(CONFIG).read_text("utf-8") == "mgmt_interface = tun1\n"


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        (UNIT, "[Unit]\n", "a file that setup has not written"),
        ("/usr/local/share/zsh/site-functions/_cuberouted", "x", "a file that setup has not"),
        ("/etc/systemd/system/cuberouted.service", "[Unit]\n", "a unit that goes before ours"),
        ("/usr/lib/systemd/system/cuberouted.service", "[Unit]\n", "the unit of a package"),
    ],
)
def test_somebody_elses_file_is_in_the_way_of_everything(root, name, text, what):
    root.write(name, text)
    before = root.files()
    shown = root.run(status=PROBLEM)
    assert f"{name}: {what}" in shown
    assert root.files() == before
    assert root.file(name).read_text("utf-8") == text


def test_a_masked_unit_is_in_the_way(root):
    mask = root.file("/etc/systemd/system/cuberouted.service")
    mask.parent.mkdir(parents=True)
    mask.symlink_to("/dev/null")
    root.run(status=PROBLEM)
    assert mask.is_symlink()


def test_a_link_in_the_place_of_a_file_is_not_followed(root):
    root.write("/precious", "precious")
    place = root.file(UNIT)
    place.parent.mkdir(parents=True)
    place.symlink_to(root.file("/precious"))
    assert "has not written" in root.run(status=PROBLEM)
    assert root.file("/precious").read_text("utf-8") == "precious"


def test_a_file_of_ours_that_was_changed_is_kept(root):
    root.run()
    edited = root.file(UNIT).read_text("utf-8").replace("WatchdogSec=30s", "WatchdogSec=9s")
    root.write(UNIT, edited)
    shown = root.run(status=PROBLEM)
    assert f"{UNIT}: what setup has written, changed since then" in shown
    assert "systemctl edit cuberouted" in shown
    shown = root.run("--uninstall")
    assert f"left {UNIT}: what setup has written, changed since then" in shown
    assert root.file(UNIT).read_text("utf-8") == edited


def test_a_change_of_a_file_of_ours_need_not_be_utf_8(root):
    root.run()
    file = root.file(UNIT)
    file.write_bytes(file.read_bytes().replace(b"[Service]", b"[Service]\n# Neustart f\xfcr Anna"))
    shown = root.run("--uninstall")
    assert f"left {UNIT}: what setup has written, changed since then" in shown


def test_uninstall_removes_what_was_installed_and_keeps_the_rest(root):
    root.write("/usr/local/share/fish/vendor_completions.d/other.fish", "")
    root.run()
    root.write("/var/lib/cuberouted/state", "{}")
    shown = root.run("--uninstall")
    assert root.files() == {
        "etc/cuberouted.conf",
        "usr/local/share/fish/vendor_completions.d/other.fish",
        "var/lib/cuberouted/state",
    }
    assert shown.count("removed ") == len(INSTALLED) - 1
    assert "userdel cuberouted" in shown
    assert "cuberouted flush" in shown
    assert not root.file("/usr/local/lib/systemd").exists()
    assert root.file("/usr/local/lib").is_dir()
    assert root.run("--uninstall").startswith("nothing to remove")


@pytest.mark.parametrize("options", [[], ["--uninstall"]])
def test_dry_run_only_tells(root, options):
    if options:
        root.run()
    before = root.files()
    shown = root.run("--dry-run", *options)
    assert f"would {'remove' if options else 'write'} {root.file(UNIT)}\n" in shown
    assert root.files() == before


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_understands_the_unit(root, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "program", lambda: Path(sys.executable))
    root.run()
    unit = root.file(UNIT)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "cuberouted.service" not in done.stderr


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = cli_runner().invoke(main, ["setup"])
    assert (done.exit_code, "as root" in done.stderr) == (PROBLEM, True)


# -- the program --


def test_debians_own_programs_can_be_reached():
    check_reach(Path("/usr/bin/env"), [Path("/usr/bin/env"), Path("/usr/bin/env").resolve()])


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/root/.local/share/pipx/venvs/cuberouted/bin/cuberouted", "ProtectHome="),
        ("/home/anna/.local/bin/cuberouted", "ProtectHome="),
        ("/tmp/venv/bin/cuberouted", "PrivateTmp="),
        ("/opt/my cube/bin/cuberouted", "characters"),
        ("/opt/100%/bin/cuberouted", "characters"),
    ],
)
def test_a_program_that_the_unit_does_not_see_is_refused_with_what_to_do(path, why):
    with pytest.raises(ProgramError, match=why) as refused:
        check_reach(Path(path), [Path(path)])
    assert "PIPX_HOME=/opt/pipx" in str(refused.value)


def test_a_program_behind_a_link_into_a_home_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "HIDDEN", {str(tmp_path / "home"): "ProtectHome="})
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "python").touch()
    (tmp_path / "python").symlink_to("home/python")
    monkeypatch.setattr(program, "_check_rights", lambda _: None)
    with pytest.raises(ProgramError, match="ProtectHome="):
        check_reach(Path("/usr/bin/env"), [tmp_path / "python"])


def test_a_program_made_under_umask_077_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "HIDDEN", {})
    path = tmp_path / "cuberouted"
    path.touch(0o700)
    path.chmod(0o700)
    with pytest.raises(ProgramError, match="umask"):
        check_reach(Path("/usr/bin/env"), [path])


def test_a_checkout_that_was_not_installed_has_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(ProgramError, match="not installed by pip or pipx"):
        program.program()
