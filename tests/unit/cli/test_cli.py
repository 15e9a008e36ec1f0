"""The commands as users type them; the daemon behind them is a control socket."""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import attrs
import msgspec
import pytest
import trio

from cuberouted import __version__
from cuberouted.api.http import Endpoint
from cuberouted.api.http_server import HttpServer
from cuberouted.api.report import (
    ClientRow,
    Clients,
    NodeRow,
    Nodes,
    OpenVPNRow,
    PeerRow,
    RouteCounts,
    RouteInfos,
    Status,
)
from cuberouted.api.report_disconnect import (
    DisconnectOrder,
    DisconnectReport,
    NodeDisconnected,
)
from cuberouted.api.report_peers import PeerCheck, PeersReport
from cuberouted.api.report_services import ServiceNodeRow, ServiceRow, Services
from cuberouted.api.report_why import Why
from cuberouted.api.selection import NodeQuery, Query
from cuberouted.api.server import listening, serve
from cuberouted.check import users
from cuberouted.cli.context import NOT_RUNNING, PROBLEM, WRONG_USAGE, load_config, run_in_kernel
from cuberouted.cli.main import main
from cuberouted.routing.flush import Flushed
from cuberouted.routing.kernel_api import KernelError
from cuberouted.util.tasks import run_trio
from tests.fakes.cli import cli_runner
from tests.openapi.validation import validate

# an unused protocol number: this host's kernel has no route with it
SAMPLE = """\
node = A
data_interface = nosuch0
mgmt_interface = nosuch1
remote_mgmt_ip = 10.200.200.5
route_protocol = 251
"""
WELL = Status(
    node="A",
    uptime=1.0,
    openvpn=[OpenVPNRow("openvpn", "connected", "2.6.14", 1)],
    peers=[PeerRow("B", "up", 1, 0.1)],
    routes=RouteCounts(1, 1, 0),
)
ILL = Status(
    node="A",
    uptime=1.0,
    openvpn=[OpenVPNRow("openvpn", "waiting", None, 0, "Connection refused")],
    peers=[PeerRow("B", "down", 0, None, "nothing received yet")],
    routes=RouteCounts(0, 0, 0),
)
CLIENTS = Clients(
    [ClientRow("10.9.0.1", "B", "host1", "client", "2026-11-21T12:00:00Z", local=False)]
)
HERE = NodeRow("A", True, "running", 1, None, None, None, None)
THERE = NodeRow("B", False, "up", 1, 0.1, "10.200.200.5", "tun1", False)
NODES = Nodes("A", [HERE, THERE])


def replies(reply):
    """A handler."""

    async def handler(request):
        return reply

    return handler


async def explain(request):
    """The handler of `why`: only "odd/name" is reached."""
    reached = request.argument == "odd/name"
    return Why(request.argument, "A", reached, "all is well" if reached else "it is not reached")


async def find_clients(request):
    """The handler of /v1/clients: all clients are called host1."""
    return CLIENTS if request.query.get("name", "host1") == "host1" else Clients([])


@attrs.frozen
class Place:
    """A configuration in a directory of its own, and the socket that it names."""

    config: Path
    socket: Path

    def run(self, *arguments):
        return cli_runner().invoke(main, ["-c", str(self.config), *arguments])

    @contextmanager
    def daemon(self, status=WELL, nodes=NODES, more=()):
        """A server on the control socket, with *more* endpoints."""
        ready = threading.Event()
        found: list[tuple[trio.lowlevel.TrioToken, trio.CancelScope]] = []
        server = HttpServer(
            (
                Endpoint("GET", "/v1/status", replies(status)),
                Endpoint("GET", "/v1/clients", find_clients, parameters=Query),
                Endpoint("GET", "/v1/routes", replies(RouteInfos("A", {})), parameters=Query),
                Endpoint("GET", "/v1/nodes", replies(nodes), parameters=NodeQuery),
                *more,
                Endpoint("GET", "/v1/why/{target}", explain),
            ),
            emit=lambda _event: None,
            what="control socket",
        )

        async def run():
            with listening(self.socket) as listener, trio.CancelScope() as scope:
                found.append((trio.lowlevel.current_trio_token(), scope))
                ready.set()
                await serve(listener, server)

        thread = threading.Thread(target=run_trio, args=(run,))
        thread.start()
        assert ready.wait(10)
        try:
            yield
        finally:
            ((token, scope),) = found
            token.run_sync_soon(scope.cancel)
            thread.join()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "c.conf", tmp_path / "control.sock")
    place.config.write_text(f"{SAMPLE}control_socket = {place.socket}\n")
    return place


# -- help --


def test_without_a_command_help_is_shown():
    done = cli_runner().invoke(main, [])
    assert done.exit_code == 0
    assert "Exit status: 0 fine;" in done.stdout
    for command in main.commands.keys() - {"run"}:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(main.commands))])
def test_every_command_has_help_that_fits_a_terminal(command):
    for option in ("-h", "--help"):
        done = cli_runner().invoke(main, [*command, option])
        assert done.exit_code == 0
        assert done.stdout.startswith("Usage:")
        assert max(map(len, done.stdout.splitlines())) <= 100


def test_the_version_is_printed():
    for option in ("-V", "--version"):
        done = cli_runner().invoke(main, [option], prog_name="cuberouted")
        assert (done.exit_code, done.stdout) == (0, f"cuberouted {__version__}\n")


@pytest.mark.parametrize(
    "arguments", [["stats"], ["status", "--jsn"], ["status", "more"], ["keygen", "x"], ["--nope"]]
)
def test_wrong_usage_has_exit_status_2(arguments):
    done = cli_runner().invoke(main, arguments)
    assert done.exit_code == WRONG_USAGE
    assert "Usage:" in done.stderr


# -- the configuration --


@pytest.mark.parametrize("command", ["check", "status", "clients", "dump-routes", "flush"])
def test_every_command_prints_all_errors_of_the_configuration(place, command):
    place.config.write_text("nodes = A\nhold_time = soon\n")
    done = place.run(command)
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"{place.config}: ")
    assert any(line.startswith(f"{place.config}:1: nodes: ") for line in lines)
    assert any(line.startswith(f"{place.config}:2: hold_time: ") for line in lines)


@pytest.mark.parametrize("command", [["flush"], ["check", "/nosuch.conf"], ["/nosuch.conf"]])
def test_a_missing_configuration_is_an_error(command):
    done = cli_runner().invoke(main, ["-c", "/nosuch.conf", *command])
    assert done.exit_code == WRONG_USAGE
    assert done.stderr == "/nosuch.conf: cannot be read: No such file or directory\n"


def test_a_running_daemon_is_asked_although_its_configuration_has_a_mistake(place, monkeypatch):
    monkeypatch.setattr("cuberouted.cli.context.DEFAULT_CONTROL_SOCKET", place.socket)
    place.config.write_text("nodes = A\n")
    with place.daemon():
        done = place.run("status", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["node"] == "A"
    assert f"{place.config}:1: nodes: " in done.stderr
    assert f"asking the daemon on the default control socket {place.socket}\n" in done.stderr
    done = place.run("status")
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr.endswith(f"{place.socket}: cuberouted is not running\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("arguments", [["{}"], ["check", "{}"], ["-c", "{}", "flush"]])
def test_an_unreadable_configuration_is_an_error(arguments):
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        config = Path(directory, "c.conf")
        config.write_text(SAMPLE)
        config.chmod(0o600)
        os.seteuid(65534)
        try:
            done = cli_runner().invoke(main, [argument.format(config) for argument in arguments])
        finally:
            os.seteuid(0)
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr == f"{config}: cannot be read: Permission denied\n"


def test_the_syntax_alone_is_checked_without_a_look_at_this_host(place, monkeypatch):
    monkeypatch.setattr("cuberouted.cli.check.run_in_kernel", None)
    for arguments in (["--syntax"], ["--syntax", str(place.config)]):
        done = place.run("check", *arguments)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    place.config.write_text(place.config.read_text() + "nodes = A\n")
    done = place.run("check", "--syntax")
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert ": nodes: " in done.stderr


def test_a_file_is_the_daemon_s_configuration_with_or_without_a_slash(place, monkeypatch):
    place.config.write_text("nonsense\n")
    monkeypatch.chdir(place.config.parent)
    for name in (str(place.config), "./c.conf", "c.conf"):
        done = cli_runner().invoke(main, [name])
        assert done.exit_code == WRONG_USAGE
        assert "c.conf:1: " in done.stderr


# -- status and clients --


@pytest.mark.parametrize(("status", "code"), [(WELL, 0), (ILL, PROBLEM)])
def test_the_exit_status_of_status_says_whether_all_is_well(place, status, code):
    with place.daemon(status):
        done = place.run("status")
        assert done.exit_code == code
        assert f"A: running 1.0 s, {status.openvpn[0].clients} client" in done.stdout
        as_json = place.run("status", "--json")
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)["peers"][0]["state"] == status.peers[0].state


def test_clients_are_printed(place):
    with place.daemon():
        assert "10.9.0.1" in place.run("clients").stdout
        found = json.loads(place.run("clients", "--json").stdout)
    assert found == {
        "clients": [
            {
                "address": "10.9.0.1",
                "node": "B",
                "name": "host1",
                "kind": "client",
                "since": "2026-11-21T12:00:00Z",
                "local": False,
            }
        ]
    }


@pytest.mark.parametrize("arguments", [["host1"], ["--name", "host1", "--node", "*"]])
def test_a_selection_is_made_by_the_daemon(place, arguments):
    with place.daemon():
        done = place.run("clients", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "10.9.0.1" in done.stdout


def test_a_selection_that_finds_nothing_has_exit_status_1(place):
    with place.daemon():
        done = place.run("clients", "host9", "--node", "B")
        assert (done.exit_code, done.stdout) == (PROBLEM, "")
        assert done.stderr == "no client matches node B and name host9\n"
        done = place.run("clients", "host9", "--json")
        assert (done.exit_code, json.loads(done.stdout)) == (PROBLEM, {"clients": []})
        done = place.run("dump-routes", "10.9.0.0/24")
        assert (done.exit_code, done.stdout) == (PROBLEM, "")
        assert done.stderr == "no route matches prefix 10.9.0.0/24\n"


def test_where_there_is_nothing_all_is_well(place, monkeypatch):
    monkeypatch.setattr(CLIENTS, "clients", [])
    with place.daemon():
        for command, noun in (("clients", "client"), ("dump-routes", "route")):
            done = place.run(command)
            assert (done.exit_code, done.stdout) == (0, "")
            assert done.stderr == f"there is no {noun}\n"


@pytest.mark.parametrize("command", ["clients", "dump-routes"])
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["10.9.0.1/24"], "has host bits set; the network is 10.9.0.0/24"),
        (["--prefix", "host1"], "'host1' is not an IP address (examples: 10.100.100.14"),
        (["host1", "--name", "host2"], "cannot be given together"),
    ],
)
def test_a_wrong_selection_is_wrong_usage(place, command, arguments, text):
    done = place.run(command, *arguments)
    assert done.exit_code == WRONG_USAGE
    assert text in done.stderr


def test_the_exit_status_of_nodes_says_whether_all_are_up(place):
    down = msgspec.structs.replace(THERE, state="down")
    for there, code in ((THERE, 0), (down, PROBLEM)):
        with place.daemon(nodes=Nodes("A", [HERE, there])):
            done = place.run("nodes")
            assert done.exit_code == code
            assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [
                ["A", "running"],
                ["B", there.state],
            ]
            found = json.loads(place.run("nodes", "--json").stdout)
            assert [node["name"] for node in found["nodes"]] == ["A", "B"]
    with place.daemon(nodes=Nodes("A", [])):
        done = place.run("nodes", "C*")
    assert (done.exit_code, done.stderr) == (PROBLEM, "no node matches node C*\n")


MINE = msgspec.structs.replace(HERE, available=True, remotes=["a1 1194 udp", "a1 443 tcp"])
THEIRS = msgspec.structs.replace(THERE, available=True, remotes=["b1 1194 udp"])
DRAINED = msgspec.structs.replace(
    THERE, name="C", maintenance="draining", remotes=["c1 1194 udp"], available=False
)


def test_only_available_nodes_are_shown(place):
    gone = msgspec.structs.replace(THERE, name="D", state="down", last_heard=None)
    with place.daemon(nodes=Nodes("A", [MINE, DRAINED, gone])):
        done = place.run("nodes", "--available")
        assert (done.exit_code, done.stderr) == (0, "")
        assert [line.split()[0] for line in done.stdout.splitlines()] == ["NODE", "A"]
        found = json.loads(place.run("nodes", "--available", "--json").stdout)
        assert [node["name"] for node in found["nodes"]] == ["A"]


def test_without_an_available_node_the_exit_status_is_1(place):
    with place.daemon(nodes=Nodes("A", [DRAINED])):
        done = place.run("nodes", "--available")
        assert (done.exit_code, done.stdout) == (PROBLEM, "")
        assert done.stderr == "no node is available\n"
        done = place.run("nodes", "--available", "--json", "C")
        assert (done.exit_code, json.loads(done.stdout)["nodes"]) == (PROBLEM, [])
        assert done.stderr == "none of these is available\n"
        done = place.run("nodes", "--remotes")
        assert (done.exit_code, done.stdout) == (PROBLEM, "")


def test_the_remotes_of_available_nodes_are_lines_for_a_configuration_of_openvpn(place):
    with place.daemon(nodes=Nodes("A", [MINE, THEIRS, DRAINED])):
        orders = set()
        for _ in range(50):  # that all are equal has a chance of 2^-49
            done = place.run("nodes", "--remotes")
            assert (done.exit_code, done.stderr) == (0, "")
            orders.add(done.stdout)
    mine, theirs = "remote a1 1194 udp\nremote a1 443 tcp\n", "remote b1 1194 udp\n"
    assert orders == {mine + theirs, theirs + mine}


def test_an_available_node_without_a_remote_is_named(place):
    bare = msgspec.structs.replace(THEIRS, remotes=[])
    with place.daemon(nodes=Nodes("A", [MINE, bare])):
        done = place.run("nodes", "--remotes")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 2)
    assert done.stderr == "B is available, but has no `openvpn_remote` in its configuration\n"
    with place.daemon(nodes=Nodes("A", [bare])):
        done = place.run("nodes", "--remotes")
    assert (done.exit_code, done.stdout) == (PROBLEM, "")
    assert done.stderr.startswith("B is available, ")


def test_remotes_are_no_json(place):
    assert place.run("nodes", "--remotes", "--json").exit_code == WRONG_USAGE


def test_the_exit_status_of_services_says_whether_all_are_well(place):
    row = ServiceNodeRow("A", "holding", 100, "", "", local=True)
    held = ServiceRow("db", "10.9.0.200", "single", ["A"], "A", True, [row])
    lost = ServiceRow("web", "10.9.0.201", "single", [], None, True, [], "", ["nobody has it"])

    def run(*arguments, services=(held, lost)):
        reply = replies(Services("A", list(services)))
        with place.daemon(more=[Endpoint("GET", "/v1/services", reply)]):
            return place.run("services", *arguments)

    assert [line.split()[0] for line in run("db").stdout.splitlines()] == ["NAME", "db"]
    assert (run("d?").exit_code, run("w*").exit_code, run().exit_code) == (0, PROBLEM, PROBLEM)
    assert run().stderr == "problem: service web: nobody has it\n"  # the table has no place for it
    found = json.loads(run("--json").stdout)
    assert [service["name"] for service in found["services"]] == ["db", "web"]
    done = run("x")
    assert (done.exit_code, done.stderr) == (PROBLEM, "no service matches x\n")
    done = run(services=())
    assert (done.exit_code, done.stderr) == (0, "there is no service\n")


@pytest.mark.parametrize("behind", [False, True])
def test_the_socket_may_be_given_without_any_configuration(place, behind):
    options = ["-c", "/nosuch.conf", "--socket", str(place.socket)]
    arguments = ["status", *options] if behind else [*options, "status"]
    with place.daemon():
        assert cli_runner().invoke(main, arguments).exit_code == 0


@pytest.mark.parametrize("command", ["check", "status", "clients", "dump-routes", "flush"])
def test_the_configuration_may_be_given_before_and_behind_the_command(place, command):
    config = str(place.config)
    before = cli_runner().invoke(main, ["-c", config, command])
    behind = cli_runner().invoke(main, [command, "--config", config])
    later = cli_runner().invoke(main, ["-c", "/nosuch.conf", command, "-c", config])
    assert "nosuch.conf" not in before.stdout + before.stderr
    for done in (behind, later):
        assert (done.exit_code, done.stdout, done.stderr) == (
            before.exit_code,
            before.stdout,
            before.stderr,
        )


@pytest.mark.parametrize(
    "command",
    [["status"], ["clients"], ["monitor"], ["history"], ["watch"], ["disconnect", "x"]],
)
def test_without_a_daemon_the_exit_status_is_3(place, command):
    done = place.run(*command)
    assert (done.exit_code, done.stdout) == (NOT_RUNNING, "")
    assert done.stderr == f"{place.socket}: cuberouted is not running\n"


def test_a_malformed_reply_is_an_error(place):
    with place.daemon(status=CLIENTS):
        done = place.run("status")
    assert done.exit_code == PROBLEM
    assert "malformed reply" in done.stderr


# -- commands that read this host's kernel --


def test_routes_are_dumped_with_and_without_a_daemon(place):
    with place.daemon():
        done = place.run("dump-routes", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert validate("dump-routes", done.stdout) == {"node": "A", "routes": []}
    done = place.run("dump-routes", "--json")
    assert done.exit_code == 0
    assert validate("dump-routes", done.stdout) == {"node": None, "routes": []}
    assert done.stderr == (
        f"{place.socket}: cuberouted is not running; node, kind, name and age are left empty\n"
    )
    assert place.run("dump-routes").stderr.splitlines()[-1] == "there is no route"


def test_only_the_daemon_knows_nodes_and_names(place):
    for arguments in (["host1"], ["--node", "B"]):
        done = place.run("dump-routes", *arguments)
        assert (done.exit_code, done.stdout) == (NOT_RUNNING, "")
        assert "cuberouted is not running; only the daemon knows" in done.stderr
    done = place.run("dump-routes", "--prefix", "10.9.0.0/24")
    assert done.exit_code == PROBLEM
    assert done.stderr.splitlines()[-1] == "no route matches prefix 10.9.0.0/24"


def test_flush_beside_a_running_daemon_is_refused(place):
    with place.daemon():
        done = place.run("flush")
    assert done.exit_code == PROBLEM
    assert done.stderr == f"{place.socket}: cuberouted is running; stop it first\n"


def test_flush_without_anything_to_remove(place):
    done = place.run("flush")
    assert (done.exit_code, done.stdout) == (0, "0 routes removed\n")


def test_flush_shows_what_would_remove_it(place, monkeypatch):
    module = importlib.import_module("cuberouted.cli.flush")
    monkeypatch.setattr(module, "run_in_kernel", lambda *_: ["ip nexthop flush proto 201"])
    with place.daemon():  # it removes nothing, so a daemon may run
        done = place.run("flush", "--show")
    assert (done.exit_code, done.stdout) == (0, "ip nexthop flush proto 201\n")


def test_flush_tells_of_addresses_of_services(place, monkeypatch):
    module = importlib.import_module("cuberouted.cli.flush")  # the package has the command's name
    monkeypatch.setattr(module, "run_in_kernel", lambda *_: Flushed(routes=1, addresses=2))
    done = place.run("flush")
    assert done.exit_code == 0
    assert done.stdout == "1 route and 2 addresses of services removed\n"


def test_a_kernel_error_is_printed_without_a_traceback(place, capsys):
    async def look(kernel):
        raise KernelError("out of memory")

    with pytest.raises(SystemExit) as ended:
        run_in_kernel(load_config(place.config), look)
    assert ended.value.code == PROBLEM
    assert capsys.readouterr().err == "kernel: out of memory\n"


def test_check_examines_the_file_that_it_is_given(place):
    done = place.run("check")
    levels = [line.split()[0] for line in done.stdout.splitlines() if line[:1].isalpha()]
    assert any(line.startswith("warning         nosuch1: ") for line in done.stdout.splitlines())
    assert done.exit_code == (PROBLEM if "problem" in levels else 0)
    assert cli_runner().invoke(main, ["check", str(place.config)]).stdout == done.stdout


def test_checks_are_chosen_by_their_ids(place):
    done = place.run("check", "--only", "interface-missing", "--only", "tunnel-shared", "-v")
    *_, passed, verdict = done.stdout.splitlines()
    assert (passed, verdict) == (
        "1 check passed",
        "no problem in the checks that were made; 1 warning",
    )
    assert done.exit_code == 0
    strict = place.run("check", "--only", "interface-missing", "--strict")
    assert strict.exit_code == PROBLEM
    none = place.run("check", "--only", "interface-missing", "--skip", "interface-missing")
    assert none.stdout.splitlines() == [
        "0 checks passed",
        "no problem in the checks that were made",
    ]


def test_an_unknown_check_is_wrong_usage_and_the_nearest_is_named(place):
    for option in ("--only", "--skip"):
        done = place.run("check", option, "forwarding-of")
        assert done.exit_code == WRONG_USAGE
        assert "the nearest is forwarding-off" in done.stderr


def test_check_gives_one_object_with_everything(place):
    done = place.run("check", "--json")
    report = validate("check", done.stdout)
    assert report["version"] == 1
    assert sum(report["counts"].values()) == len(report["findings"])
    (missing,) = (f for f in report["findings"] if f["subject"] == "nosuch1")
    assert missing.keys() == {
        "level",
        "id",
        "title",
        "subject",
        "text",
        "why",
        "advice",
        "command",
        "anchor",
    }
    assert (missing["level"], missing["id"]) == ("warning", "interface-missing")
    assert missing["anchor"] == "docs/checks.md#interface-missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_check_says_that_root_is_needed(place, monkeypatch):
    monkeypatch.setattr(users, "read_unit", lambda: None)
    monkeypatch.setattr(users, "DEFAULT_USER", "no such user")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "c.conf")
        control_socket = f"{directory}/control.sock"
        config.write_text(place.config.read_text().replace(str(place.socket), control_socket))
        Path(directory).chmod(0o755)
        os.seteuid(65534)
        try:
            done = cli_runner().invoke(main, ["check", str(config)])
        finally:
            os.seteuid(0)
    assert done.exit_code == PROBLEM
    assert "privileges: CAP_NET_ADMIN is missing" in done.stdout


# -- disconnect --


@pytest.mark.parametrize(
    ("nodes", "lines", "code"),
    [
        ([NodeDisconnected("B", "ended", [5])], ["host2: 1 session ended at B (client id 5)"], 0),
        (
            [NodeDisconnected("A", "ended", [5, 6]), NodeDisconnected("B", "ended", [-1])],
            [
                "host2: 2 sessions ended at A (client ids 5, 6)",
                "host2: 1 session ended at B",
            ],
            0,
        ),
        (
            [NodeDisconnected("A", "ended", [5]), NodeDisconnected("C", "refused", [], "it is so")],
            ["host2: 1 session ended at A (client id 5)", "C refuses: it is so"],
            PROBLEM,
        ),
        (
            [NodeDisconnected("A", "failed", [5], "openvpn tcp: it is stopped")],
            ["host2: 1 session ended at A (client id 5)", "A: openvpn tcp: it is stopped"],
            PROBLEM,
        ),
        ([NodeDisconnected("A", "not_found")], ["nobody has host2"], PROBLEM),
        ([], ["nobody has host2"], PROBLEM),
    ],
)
def test_it_is_printed_what_each_node_has_disconnected(place, nodes, lines, code):
    report = DisconnectReport("host2", nodes)
    endpoint = Endpoint("POST", "/v1/disconnect", replies(report), body=DisconnectOrder)
    with place.daemon(more=[endpoint]):
        done = place.run("disconnect", "host2")
        as_json = place.run("disconnect", "host2", "--json")
    assert (done.exit_code, done.stdout.splitlines()) == (code, lines)
    assert as_json.exit_code == code
    assert msgspec.json.decode(as_json.stdout, type=DisconnectReport) == report


@pytest.mark.parametrize(
    ("argument", "order"),
    [
        (["host2"], DisconnectOrder("host2")),
        (["--from", "B", "caf\u00e9"], DisconnectOrder("caf\u00e9", "B")),
        (["a\udcff\tb"], DisconnectOrder("a\\xff\\tb")),
        (["a\\xff"], DisconnectOrder("a\\xff")),
    ],
)
def test_the_name_is_sent_as_it_is_shown(place, argument, order):
    orders = []

    async def handler(request):
        orders.append(request.json(DisconnectOrder))
        return DisconnectReport("x", [])

    endpoint = Endpoint("POST", "/v1/disconnect", handler, body=DisconnectOrder)
    with place.daemon(more=[endpoint]):
        place.run("disconnect", *argument)
    assert orders == [order]


# -- check --peers --


def test_peers_are_checked_by_the_daemon(place):
    one = PeerCheck(
        name="10.200.200.5",
        known_as="B",
        interface="nosuch1",
        address="10.200.200.5",
        tcp_port=5657,
        state="down",
        detail="",
        connection="no connection",
        port="connection refused: nobody listens there",
        subscribed=False,
        mtu=1500,
    )
    endpoint = Endpoint("GET", "/v1/peers/check", replies(PeersReport("A", [one])))
    with place.daemon(more=[endpoint]):
        done = place.run("check", "--peers", "--only", "peer-port", "--json", str(place.config))
        without = place.run("check", "--only", "peer-port", "--json")
    [finding] = json.loads(done.stdout)["findings"]
    assert (finding["subject"], done.exit_code) == ("peer 10.200.200.5", PROBLEM)
    assert "connection refused" in finding["text"]
    assert json.loads(without.stdout)["findings"] == []


def test_without_a_daemon_peers_cannot_be_checked(place):
    done = place.run("check", "--peers")
    assert (done.exit_code, done.stdout) == (NOT_RUNNING, "")
    assert done.stderr == f"{place.socket}: cuberouted is not running\n"


# -- why --


@pytest.mark.parametrize(("target", "status"), [("odd/name", 0), ("10.9.0.1", PROBLEM)])
def test_why_exits_with_0_only_if_packets_get_there(place, target, status):
    with place.daemon():
        done, as_json = place.run("why", target), place.run("why", "--json", target)
    assert (done.exit_code, as_json.exit_code) == (status, status)
    answer = json.loads(as_json.stdout)
    assert (answer["target"], answer["reached"]) == (target, status == 0)
    assert done.stdout.splitlines()[0] == answer["verdict"]


def test_without_a_daemon_why_asks_the_kernel(place):
    done, as_json = place.run("why", "127.0.0.1"), place.run("why", "--json", "127.0.0.1")
    assert (done.exit_code, as_json.exit_code) == (NOT_RUNNING, NOT_RUNNING)
    assert done.stdout.splitlines()[0] == (
        "cuberouted is not running here, so only the kernel was asked: 127.0.0.1 is an address of"
        " this host itself"
    )
    answer = json.loads(as_json.stdout)
    assert (answer["node"], answer["reached"]) == (None, False)
    named = place.run("why", "host1")
    assert (named.exit_code, named.stdout) == (NOT_RUNNING, "")
    assert named.stderr.endswith("without it only an address can be asked for\n")


def test_without_a_daemon_why_needs_a_configuration_without_mistakes(place):
    place.config.write_text("nodes = A\n")
    done = place.run("why", "127.0.0.1")
    assert (done.exit_code, done.stdout) == (WRONG_USAGE, "")
    assert done.stderr.count(f"{place.config}:1: nodes: ") == 1
