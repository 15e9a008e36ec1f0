from __future__ import annotations

import os
import pwd
import sys
import tempfile
from pathlib import Path

import pytest

from cuberouted.api.client import Credentials
from cuberouted.check import users
from cuberouted.check.facts import User
from cuberouted.check.users import Unit, acting_as, blocked_at, parse_unit, why_not_executable

SHOWN = """\
ExecStart={ path=/usr/bin/cuberouted ; argv[]=/usr/bin/cuberouted /etc/cuberouted.conf ; \
ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
User=cuberouted
SupplementaryGroups=openvpn 42
LoadState=loaded
ProtectHome=yes
PrivateTmp=no
NeedDaemonReload=yes
"""

UMASK = "; if that was installed under umask 077, install it again under umask 022"

NOBODY = User("nobody", 65534, 65534, (65534,))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def public():
    """A directory that everybody may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


def test_the_unit_s_user_groups_and_command_line_are_read():
    unit = parse_unit(SHOWN)
    assert unit == Unit(
        user="cuberouted",
        groups=("openvpn", "42"),
        program=Path("/usr/bin/cuberouted"),
        arguments=("/etc/cuberouted.conf",),
        hidden={Path(path): "ProtectHome=yes" for path in ("/home", "/root", "/run/user")},
        needs_reload=True,
    )
    assert unit.hides(Path("/home/me/cuberouted")) == "ProtectHome=yes"
    assert unit.hides(Path("/opt/../root/x")) == "ProtectHome=yes"
    assert unit.hides(Path("/opt/home")) is None


@pytest.mark.parametrize(
    ("shown", "unit"),
    [
        ("", None),
        ("LoadState=not-found\nUser=\n", None),
        ("LoadState=loaded\n", Unit("", (), None, ())),
        ("nonsense\n=\nLoadState=loaded\nExecStart={ path=/x\n", Unit("", (), Path("/x"), ())),
    ],
)
def test_a_unit_that_is_not_there_or_incomplete_does_no_harm(shown, unit):
    assert parse_unit(shown) == unit


def test_without_systemd_no_unit_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(users, "BOOTED", tmp_path / "nothing")
    assert users.read_unit() is None


def test_the_user_of_a_unit_has_the_unit_s_groups_too():
    user = users.user_of_unit(Unit("nobody", ("0", "4242", "no such group"), None, ()))
    assert user is not None
    entry = pwd.getpwnam("nobody")
    assert (user.name, user.uid, user.gid) == ("nobody", entry.pw_uid, entry.pw_gid)
    assert set(user.groups) == {entry.pw_gid, 0, 4242}


@pytest.mark.parametrize("name", ["", "root", "0", "no such user", "4000000000"])
def test_a_unit_of_root_or_of_nobody_that_exists_has_no_user(name):
    assert users.user_of_unit(Unit(name, (), None, ())) is None


def test_without_a_unit_it_is_the_user_cuberouted_if_there_is_one(monkeypatch):
    monkeypatch.setattr(users, "DEFAULT_USER", "nobody")
    user = users.user_of_unit(None)
    assert user is not None
    assert user.name == "nobody"
    monkeypatch.setattr(users, "DEFAULT_USER", "no such user")
    assert users.user_of_unit(None) is None


def test_a_running_daemon_has_the_groups_of_its_process(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text("Uid:\t99999\t99999\t99999\t99999\nGroups:\t5 6 \n")
    user = users.user_of_process(Credentials(7, 99999, 88888), tmp_path)
    assert user == User("99999", 99999, 88888, (5, 6))
    assert users.user_of_process(Credentials(7, 0, 0), tmp_path) is None
    # another process has that number here, or none
    for pid in (7, 8):
        user = users.user_of_process(Credentials(pid, 65534, 65534), tmp_path)
        assert user is not None
        assert (user.name, user.groups) == ("nobody", (65534,))


@as_root
def test_files_are_accessed_as_that_user_and_afterwards_as_before(public):
    path = public / "file"
    path.touch(mode=0o600)
    before = (os.geteuid(), os.getegid(), os.getgroups())

    def read_as_nobody():
        with acting_as(NOBODY):
            path.read_bytes()

    with pytest.raises(PermissionError):
        read_as_nobody()
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    os.chown(path, 0, 65534)
    path.chmod(0o640)
    read_as_nobody()
    with acting_as(None):
        path.read_bytes()


@as_root
def test_what_is_in_the_way_is_named(public):
    inner = public / "one" / "two"
    inner.mkdir(parents=True)
    path = inner / "file"
    path.touch(mode=0o600)
    link = public / "link"
    link.symlink_to(path)
    assert blocked_at(link, NOBODY) == f"{path} has mode 0600, root:root"
    inner.chmod(0o750)
    os.chown(inner, 0, 4242)
    assert blocked_at(path, NOBODY) == f"{inner} has mode 0750, root:4242"
    (public / "one").chmod(0o700)
    assert blocked_at(link, NOBODY) == f"{public / 'one'} has mode 0700, root:root"
    assert blocked_at(link, None) is None


@as_root
def test_directories_on_the_way_of_each_link_are_searched_too(public):
    private, open_to_all = public / "private", public / "open"
    private.mkdir()
    open_to_all.mkdir()
    (open_to_all / "file").touch(mode=0o644)
    (private / "second").symlink_to("../open")
    (public / "first").symlink_to("private/second")
    path = public / "first" / "file"
    assert blocked_at(path, NOBODY) is None
    private.chmod(0o700)
    assert blocked_at(path, NOBODY) == f"{private} has mode 0700, root:root"
    assert blocked_at(open_to_all / "file", NOBODY) is None
    unit = Unit("nobody", (), None, (), {private: "ProtectHome=yes"})
    assert unit.hides(path) == "ProtectHome=yes"
    assert unit.hides(private / "second" / "file") == "ProtectHome=yes"
    assert unit.hides(open_to_all / "file") is None


def test_links_in_a_loop_do_no_harm(tmp_path):
    path = tmp_path / "link"
    path.symlink_to(path)
    assert blocked_at(path, None) == str(path)
    assert Unit("", (), None, (), {Path("/nowhere"): "x"}).hides(path) is None


def program(public, line="#!/bin/sh", text="echo 1"):
    path = public / "bin" / "cuberouted"
    path.parent.mkdir()
    path.write_text(f"{line}\n{text}\n")
    path.chmod(0o755)
    return path


@as_root
def test_a_program_that_works_is_all_right(public):
    path = program(public, text='test "$1" = --version && test "$(id -u)" = 65534')
    assert why_not_executable(path, NOBODY) is None


@as_root
def test_a_virtual_environment_made_under_umask_077_is_found(public):
    path = program(public)
    path.parent.chmod(0o700)
    why = why_not_executable(path, NOBODY)
    assert why == f"{path}: Permission denied ({path.parent} has mode 0700, root:root){UMASK}"
    path.parent.chmod(0o755)
    path.chmod(0o700)
    assert why_not_executable(path, NOBODY) == (
        f"{path}: Permission denied ({path} has mode 0700, root:root){UMASK}"
    )


@as_root
def test_what_only_root_can_reach_is_not_mended_by_another_umask(public, monkeypatch):
    monkeypatch.setattr(users, "_HOMES", (public / "root",))
    home = public / "root"
    home.mkdir(mode=0o700)
    (home / "python").symlink_to("/bin/sh")
    path = program(public, f"#!{home / 'python'}")
    advice = "; install it for all users, outside of /root and /home"
    where = f"({home} has mode 0700, root:root)"
    assert why_not_executable(path, NOBODY) == f"{path}: Permission denied {where}{advice}"
    path = Path(path.rename(home / "cuberouted"))
    assert why_not_executable(path, NOBODY) == f"{path}: Permission denied {where}{advice}"


@as_root
def test_a_program_that_does_not_end_is_told(public, monkeypatch):
    monkeypatch.setattr(users, "_VERSION_TIMEOUT", 0.1)
    path = program(public, text="exec sleep 600")
    assert why_not_executable(path, NOBODY) == f"{path} --version does not answer within 0.1 s"


@as_root
def test_an_interpreter_that_cannot_be_reached_is_found(public):
    private = public / "private"
    private.mkdir(mode=0o700)
    (private / "python").symlink_to(os.path.realpath(sys.executable))
    path = program(public, f"#!{private / 'python'} -I")
    why = why_not_executable(path, NOBODY) or ""
    assert why.startswith(f"{path}: Permission denied (")
    private.chmod(0o711)
    (private / "python").unlink()
    (private / "python").symlink_to("/bin/sh")
    assert why_not_executable(path, NOBODY) is None
    private.chmod(0o700)
    assert why_not_executable(path, NOBODY) == (
        f"{path}: Permission denied ({private} has mode 0700, root:root){UMASK}"
    )
    path.unlink()
    path.parent.rmdir()
    path = program(public, "#!/no/such/python")
    assert why_not_executable(path, NOBODY) == (
        f"{path}: No such file or directory (/no/such/python)"
    )


@as_root
def test_a_package_that_cannot_be_imported_is_told_by_the_program_itself(public):
    path = program(public, text="echo Traceback >&2; echo ModuleNotFoundError: gone >&2; exit 1")
    assert why_not_executable(path, NOBODY) == f"{path}: ModuleNotFoundError: gone"
    assert why_not_executable(public / "nothing", NOBODY) == (
        f"{public}/nothing: No such file or directory ({public}/nothing)"
    )
