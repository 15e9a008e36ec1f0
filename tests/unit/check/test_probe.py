"""Facts about this very host; nothing is changed, and no privilege is needed."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread

import attrs
import msgspec
import pytest

from cuberouted.api.report import RouteCounts, Status
from cuberouted.check import firewall, ports, probe, users
from cuberouted.config import ServiceConfig, keypair
from cuberouted.routing.linux.kernel import open_kernel
from tests.fakes.samples import TWO_SERVERS, config


@contextmanager
def as_nobody():
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def serving(path, reply=None):
    """A daemon that answers every request with *reply*, by default its status."""
    status = Status("A", 1.0, [], [], RouteCounts(0, 0, 0), problems=["all is lost"])
    good = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + msgspec.json.encode(status)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            while True:
                client, _ = server.accept()
                with client:
                    request = client.recv(4096)
                    if request == b"stop":
                        return
                    if request:
                        client.sendall(reply or good)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))
                last.sendall(b"stop")
            thread.join()
    path.unlink()


@pytest.fixture(autouse=True)
def no_unit(monkeypatch):
    """Whatever is installed on this machine."""
    monkeypatch.setattr(users, "read_unit", lambda: None)
    monkeypatch.setattr(users, "DEFAULT_USER", "no such user")


@pytest.fixture
def public():
    """A directory that everybody may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def configured(tmp_path, *lines, port=5657):
    """A peer behind lo, where there surely is an address."""
    text = TWO_SERVERS.replace("tun1", "lo").replace("10.200.200.5", "127.0.0.2")
    socket_line = f"control_socket = {tmp_path}/control.sock"
    return config(f"cube_routed_port = {port}", socket_line, *lines, text)


async def probed(configuration):
    async with open_kernel(254, 50, 251) as kernel:
        return await probe.probe_host(kernel, configuration)


async def test_this_host_s_links_and_sysctls_are_found(tmp_path):
    found = await probed(configured(tmp_path))
    assert "lo" in [link.name for link in found.links]
    assert found.host.missing == ("tun0",)
    assert found.sysctls["net/ipv4/conf/lo/forwarding"] in ("0", "1")
    assert "net/ipv4/conf/tun0/rp_filter" not in found.sysctls
    assert found.unreadable == {}
    assert not found.daemon


async def test_a_port_that_is_taken_is_found_unless_it_is_taken_by_ourselves(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        configuration = attrs.evolve(
            configured(tmp_path, port=port), listen=(socket.inet_aton("127.0.0.1"),)
        )
        found = await probed(configuration)
        (why,) = found.busy.values()
        assert found.busy.keys() == {f"127.0.0.1 port {port}"}
        assert why.startswith("Address already in use by ")
        assert why.endswith(f"(process {os.getpid()})")
        with serving(configuration.control_socket):
            found = await probed(configuration)
        assert (found.daemon, found.busy) == (True, {})
    assert (await probed(configuration)).busy == {}


async def test_a_port_of_the_web_listener_that_is_taken_is_found(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        configuration = configured(tmp_path, f"web_listen = 127.0.0.1:{port}")
        why = (await probed(configuration)).web_busy
        assert why is not None
        assert why.startswith("Address already in use by ")
        with serving(configuration.control_socket):  # the daemon has it, or reports that itself
            assert (await probed(configuration)).web_busy is None
    assert (await probed(configuration)).web_busy is None
    elsewhere = configured(tmp_path, f"web_listen = 192.0.2.99:{port}")
    assert (await probed(elsewhere)).web_busy is None


async def test_an_openvpn_on_tcp_is_there_when_its_port_is_listened_on(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as openvpn:
        port = openvpn.getsockname()[1]
        configuration = configured(tmp_path, f"openvpn_mgmt_port = {port}")
        assert (await probed(configuration)).openvpn == {"": None}
        assert openvpn.getblocking()
        openvpn.settimeout(0)
        with pytest.raises(BlockingIOError):  # it was not connected to
            openvpn.accept()
    why = (await probed(configuration)).openvpn[""]
    assert why == (
        f"no process listens on 127.0.0.1 port {port}: is OpenVPN running, with"
        f" `management 127.0.0.1 {port}`?"
    )


async def test_an_openvpn_on_a_unix_socket_is_there_when_that_is(tmp_path):
    path = tmp_path / "data.sock"
    configuration = configured(tmp_path, f"openvpn_mgmt_socket = {path}")
    why = (await probed(configuration)).openvpn[""]
    assert why == f"{path} does not exist: is OpenVPN running, and configured to create it?"
    with socket.socket(socket.AF_UNIX) as openvpn:
        openvpn.bind(str(path))
        openvpn.listen()
        assert (await probed(configuration)).openvpn == {"": None}
    why = (await probed(configuration)).openvpn[""]
    assert why == (
        f"no process in this network namespace listens on {path}: is OpenVPN running, with"
        f" `management {path} unix`?"
    )


async def test_a_management_socket_that_is_no_socket_is_told(tmp_path):
    path = tmp_path / "data.sock"
    path.touch()
    found = await probed(configured(tmp_path, f"openvpn_mgmt_socket = {path}"))
    assert found.unreadable == {path: "is not a socket"}


@pytest.mark.parametrize("key", ["openvpn_mgmt_pass_file", "openvpn_status_file"])
async def test_a_file_that_is_a_directory_is_told(tmp_path, key):
    found = await probed(configured(tmp_path, f"{key} = {tmp_path}"))
    assert found.unreadable == {tmp_path: "cannot be read: Is a directory"}


async def test_a_status_file_that_is_not_there_yet_is_no_mistake(tmp_path):
    path = tmp_path / "status"
    configuration = configured(tmp_path, f"openvpn_status_file = {path}")
    found = await probed(configuration)
    assert found.openvpn == {
        "": f"{path} does not exist: is OpenVPN running, and configured to create it?"
    }
    assert found.unreadable == {}
    path.touch()
    assert (await probed(configuration)).openvpn == {"": None}


async def test_a_password_file_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "pass"
    found = await probed(configured(tmp_path, f"openvpn_mgmt_pass_file = {path}"))
    assert found.unreadable == {path: "cannot be read: No such file or directory"}


async def test_a_hook_and_a_hosts_file_that_cannot_be_used_are_told(tmp_path):
    hook, directory = tmp_path / "hook", tmp_path / "hosts"
    lines = f"hook = {hook} -v", f"hosts_file = {directory}/clients"
    found = await probed(configured(tmp_path, *lines))
    assert found.unreadable == {
        hook: "cannot be executed: No such file or directory",
        directory: "cannot be written to: No such file or directory",
    }
    hook.touch(mode=0o644)
    directory.mkdir()
    found = await probed(configured(tmp_path, *lines))
    assert found.unreadable.keys() == {hook}
    assert found.unreadable[hook].startswith("cannot be executed: Permission denied")
    hook.chmod(0o755)
    assert (await probed(configured(tmp_path, *lines))).unreadable == {}


async def test_a_service_s_commands_and_the_state_directory_that_cannot_be_used_are_told(tmp_path):
    check, fence, state = (tmp_path / name for name in ("check", "fence", "state"))
    check.touch(mode=0o755)
    fence.touch(mode=0o644)
    service = ServiceConfig(
        check=(str(check), "-v"), fence=(str(fence),), on_release=(f"{tmp_path}/none",)
    )
    node = configured(tmp_path, f"state_directory = {state}")
    found = await probed(attrs.evolve(node, services=(service,)))
    assert found.unreadable.keys() == {fence, tmp_path / "none", state}
    assert found.unreadable[fence].startswith("cannot be executed: Permission denied")
    assert found.unreadable[state] == "cannot be written to: No such file or directory"
    fence.chmod(0o755)
    state.mkdir()
    service = attrs.evolve(service, on_release=())
    found = await probed(attrs.evolve(node, services=(service,)))
    assert found.unreadable == {}


async def test_the_state_directory_of_the_unit_is_looked_at_once_the_daemon_runs(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(probe, "DEFAULT_STATE_DIRECTORY", tmp_path / "state")
    configuration = configured(tmp_path, f"state_directory = {tmp_path}/state")
    assert (await probed(configuration)).unreadable == {}
    with serving(configuration.control_socket):
        found = await probed(configuration)
    assert found.unreadable.keys() == {tmp_path / "state"}


@as_root
async def test_a_hosts_file_is_looked_at_with_the_rights_of_the_daemon_s_user(public, monkeypatch):
    monkeypatch.setattr(users, "DEFAULT_USER", "daemon")
    directory = public / "hosts"
    directory.mkdir(mode=0o755)
    found = await probed(configured(public, f"hosts_file = {directory}/clients"))
    assert found.unreadable[directory].startswith(
        "cannot be written to by the user daemon: Permission denied"
    )


async def test_our_public_key_is_told_or_why_the_secret_one_cannot_be_used(tmp_path):
    (public, secret), (theirs, _) = keypair.generate(), keypair.generate()
    path = tmp_path / "key"
    configuration = configured(
        tmp_path, f"secret_key_file = {path}", f"remote_public_key = {theirs.decode()}"
    )
    found = await probed(configuration)
    assert found.public_key is None
    assert found.unreadable.keys() == {path}
    keypair.write_secret(path, secret)
    found = await probed(configuration)
    assert (found.public_key, found.unreadable) == (public.decode(), {})


@as_root
@pytest.mark.parametrize("key", ["openvpn_mgmt_socket", "openvpn_status_file"])
async def test_what_this_user_may_not_see_is_told_as_such(public, key):
    path = public / "private" / "it"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    configuration = configured(public, f"{key} = {path}")
    with as_nobody():
        found = await probed(configuration)
    assert found.unreadable[path].startswith("cannot be used: Permission denied (")
    assert found.missing_capability == "CAP_NET_ADMIN"


async def test_what_a_running_daemon_reports_is_asked(tmp_path):
    configuration = configured(tmp_path)
    with serving(configuration.control_socket):
        found = await probed(configuration)
    assert found.daemon
    assert found.reported.problems == ["all is lost"]
    with serving(configuration.control_socket, b"nonsense"):
        found = await probed(configuration)
    assert "malformed reply" in found.reported


@as_root
async def test_root_looks_at_files_as_the_user_of_the_daemon(public, monkeypatch):
    monkeypatch.setattr(users, "DEFAULT_USER", "nobody")
    password, secret = public / "pass", public / "private" / "status"
    password.touch(mode=0o600)
    secret.parent.mkdir(mode=0o710)
    secret.touch(mode=0o644)
    lines = (
        "[openvpn one]",
        f"mgmt_pass_file = {password}",
        "[openvpn two]",
        "data_interface = tun9",
        f"status_file = {secret}",
        "[peer B]",
        "mgmt_ip = 127.0.0.2",
    )
    parsed = config("mgmt_interface = lo", f"control_socket = {public}/control.sock", *lines)
    configuration = attrs.evolve(parsed, path=public / "cuberouted.conf")
    configuration.path.touch(mode=0o600)
    found = await probed(configuration)
    refused = "by the user nobody: Permission denied"
    assert found.unreadable == {
        password: f"cannot be read {refused} ({password} has mode 0600, root:root)",
        secret: f"cannot be used {refused} ({secret.parent} has mode 0710, root:root)",
        configuration.path: (
            f"cannot be read {refused} ({configuration.path} has mode 0600, root:root)"
        ),
    }
    assert os.geteuid() == 0
    password.chmod(0o644)
    secret.parent.chmod(0o711)
    configuration.path.chmod(0o644)
    assert (await probed(configuration)).unreadable == {}


@as_root
async def test_root_looks_at_a_socket_as_the_user_of_the_daemon(public, monkeypatch):
    monkeypatch.setattr(users, "DEFAULT_USER", "nobody")
    path = public / "openvpn.sock"
    parsed = configured(public, f"openvpn_mgmt_socket = {path}")
    configuration = attrs.evolve(parsed, path=public / "cuberouted.conf")
    configuration.path.touch(mode=0o644)
    with socket.socket(socket.AF_UNIX) as openvpn:
        openvpn.bind(str(path))
        openvpn.listen()
        path.chmod(0o755)
        found = await probed(configuration)
        assert found.openvpn == {"": None}
        assert found.unreadable[path].endswith(f"({path} has mode 0755, root:root)")
        assert found.exposed == {}
        path.chmod(0o777)
        found = await probed(configuration)
        assert found.unreadable == {}
        assert found.exposed == {
            "": f"every local user can connect to {path} (mode 0777, root:root)"
        }
        public.chmod(0o750)
        assert (await probed(configuration)).exposed == {}


async def test_a_management_port_without_a_password_is_open_to_all(tmp_path):
    (how,) = (await probed(configured(tmp_path))).exposed.values()
    assert how == "has no password: every local user can connect"
    path = tmp_path / "pass"
    path.touch()
    found = await probed(configured(tmp_path, f"openvpn_mgmt_pass_file = {path}"))
    assert found.exposed == {}


async def test_how_open_a_management_port_of_another_host_is_cannot_be_known(tmp_path):
    found = await probed(configured(tmp_path, "openvpn_mgmt_host = 198.51.100.7"))
    where = "its management interface at 198.51.100.7 port 5656 is not on this host"
    assert found.elsewhere == {"": where}
    assert found.exposed == {}


async def test_a_socket_path_that_is_a_loop_of_links_is_told(tmp_path):
    path = tmp_path / "link"
    path.symlink_to(path)
    found = await probed(configured(tmp_path, f"openvpn_mgmt_socket = {path}"))
    assert found.exposed == {}
    assert found.unreadable == {path: "cannot be used: Too many levels of symbolic links"}


@as_root
async def test_another_user_judges_only_what_it_may_see(public, monkeypatch):
    """A member of the group cuberouted; the daemon's user is another one."""
    monkeypatch.setattr(users, "DEFAULT_USER", "daemon")
    password = public / "pass"
    password.touch(mode=0o600)
    configuration = configured(public, f"openvpn_mgmt_pass_file = {password}")
    with as_nobody():
        found = await probed(configuration)
    assert found.missing_capability is None
    assert found.unreadable == {}
    assert found.unjudged.keys() == {password}
    assert found.filters is None
    missing = configured(public, f"openvpn_mgmt_pass_file = {public}/nothing")
    with as_nobody():
        found = await probed(missing)
    assert found.unreadable.keys() == {public / "nothing"}


@as_root
async def test_who_may_not_ask_the_daemon_is_told_so(public):
    configuration = configured(public)
    with serving(configuration.control_socket):
        configuration.control_socket.chmod(0o600)
        with as_nobody():
            found = await probed(configuration)
    assert not found.daemon
    assert "permission denied" in str(found.daemon_hidden)


@as_root
async def test_beside_a_daemon_that_may_not_be_asked_nothing_is_said_of_its_rights(
    public, monkeypatch
):
    """Root has started it by hand: there is no unit, and no user cuberouted."""
    monkeypatch.setattr(ports, "process_of", lambda _: None)
    with closing(socket.create_server(("127.0.0.1", 0))) as port:
        number = port.getsockname()[1]
        configuration = attrs.evolve(
            configured(public, port=number), listen=(socket.inet_aton("127.0.0.1"),)
        )
        with serving(configuration.control_socket):
            configuration.control_socket.chmod(0o600)
            with as_nobody():
                found = await probed(configuration)
    assert (found.missing_capability, found.busy) == (None, {})
    assert found.daemon_hidden is not None
    assert found.busy_unseen.keys() == {f"127.0.0.1 port {number}"}


async def test_a_firewall_that_cannot_be_looked_at_is_told(tmp_path, monkeypatch):
    unseen = firewall.Filters((), ("one", "two"))
    monkeypatch.setattr(firewall, "read_filters", lambda: unseen)
    found = await probed(configured(tmp_path))
    assert (found.filters, found.filters_unseen) == ((), ("one", "two"))


def unit(monkeypatch, configuration, **other):
    """The unit of a daemon that reads this configuration."""
    found = users.Unit("nobody", (), None, (str(configuration.path),))
    monkeypatch.setattr(users, "read_unit", lambda: attrs.evolve(found, **other))


async def test_a_file_that_the_unit_hides_is_told(tmp_path, monkeypatch):
    path = tmp_path / "pass"
    path.touch()
    configuration = configured(tmp_path, f"openvpn_mgmt_pass_file = {path}")
    unit(monkeypatch, configuration, user="", hidden={tmp_path: "PrivateTmp=yes"})
    found = await probed(configuration)
    why = "is hidden from the daemon by PrivateTmp=yes: move it elsewhere"
    assert found.unreadable == {path: why}
    # a draft is not what the unit reads
    found = await probed(attrs.evolve(configuration, path=tmp_path / "draft"))
    assert found.unreadable == {}


@as_root
async def test_a_draft_need_not_be_readable_for_the_daemon(public, monkeypatch):
    configuration = attrs.evolve(configured(public), path=public / "cuberouted.conf")
    configuration.path.touch(mode=0o600)
    unit(monkeypatch, configuration)
    assert (await probed(configuration)).unreadable.keys() == {configuration.path}
    draft = attrs.evolve(configuration, path=public / "draft")
    draft.path.touch(mode=0o600)
    assert (await probed(draft)).unreadable == {}


@as_root
@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"user": "no-such-user"}, "the user no-such-user does not exist: run systemd-sysusers"),
        ({"program": Path("/bin/sh"), "user": ""}, None),
        ({"program": Path("/bin/true")}, None),
        (
            {"program": Path("/bin/sh"), "hidden": {Path("/usr/bin"): "ProtectHome=yes"}},
            "/bin/sh is hidden by ProtectHome=yes: install cuberouted elsewhere",
        ),
        (
            {"program": Path("/bin/false")},
            "cannot be started by the user nobody: /bin/false: exit status 1",
        ),
    ],
)
async def test_a_unit_that_cannot_start_is_told(tmp_path, monkeypatch, other, why):
    configuration = configured(tmp_path)
    unit(monkeypatch, configuration, **other)
    assert (await probed(configuration)).unit == why


async def test_an_interpreter_that_the_unit_hides_is_told(tmp_path, monkeypatch):
    """A virtual environment links to the Python that it was made with."""
    home, program = tmp_path / "home", tmp_path / "venv" / "cuberouted"
    home.mkdir()
    program.parent.mkdir()
    (home / "python").symlink_to("/bin/sh")
    python = program.parent / "python"
    python.symlink_to(home / "python")
    program.write_text(f"#!{python}\n")
    configuration = configured(tmp_path)
    unit(monkeypatch, configuration, user="", program=program, hidden={home: "ProtectHome=yes"})
    why = (await probed(configuration)).unit or ""
    assert why.startswith(f"{program} needs {python}, which is hidden by ProtectHome=yes or leads")
    unit(monkeypatch, configuration, user="", program=program)
    assert (await probed(configuration)).unit is None


@as_root
async def test_the_daemon_s_own_user_judges_files_but_not_its_own_capabilities(public, monkeypatch):
    """`sudo -u cuberouted cuberouted check`: the unit has the capability, this process not."""
    monkeypatch.setattr(users, "DEFAULT_USER", "nobody")
    password = public / "pass"
    password.touch(mode=0o600)
    configuration = configured(public, f"openvpn_mgmt_pass_file = {password}")
    with as_nobody():
        found = await probed(configuration)
    assert found.missing_capability is None
    assert found.unreadable.keys() == {password}
    assert found.unjudged == {}
