"""/metrics of a real daemon, as Prometheus gets it."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fakes.metrics import Scraped
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import connect, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for

LISTEN = "127.0.0.1:9657"


def with_web(server: Server, peers: Iterable[Server] | None = None) -> str:
    """A configuration with the web listener; *peers*: see `mesh`."""
    return mesh(server, f"web_listen = {LISTEN}", "web_names = no", peers=peers)


def scrape(server: Server) -> str:
    """/metrics of *server*."""
    argv = "curl", "--silent", "--show-error", "--fail", "--include", f"http://{LISTEN}/metrics"
    head, _, body = server.host.run(*argv).partition("\n\n")
    assert "content-type: text/plain; version=0.0.4; charset=utf-8" in head.lower()
    return body


def metrics(server: Server) -> Scraped:
    """The metrics of *server* now."""
    return Scraped(scrape(server))


def test_promtool_finds_nothing_to_object_to(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, with_web)
    wait_routes(lab, where)
    for server in lab.servers:
        done = server.host.try_run("promtool", "check", "metrics", stdin=scrape(server))
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_happens_is_counted(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    start_daemons(lab.servers, with_web)
    wait_routes(lab, where)
    wait_for("A to be ready", lambda: metrics(a).value("ready") == 1)
    before = metrics(a)
    assert before.value("peer_up", peer="vpnsrvB") == 1
    assert before.value("peer_clients", peer="vpnsrvB") == 1
    assert before.value("openvpn_up", openvpn="openvpn") == 1
    assert before.value("openvpn_sessions", openvpn="openvpn") == 1
    assert before.value("clients") == 2
    assert before.value("problems") == 0
    assert before.value("events_total", type="node_started") == 1

    a.host.ip(f"route del {two.data}/32")
    wait_for("the route to be restored", lambda: metrics(a).value("routes_restored_total") == 1)
    one.roam(b)
    one.openvpn.ready()
    where[one] = b
    wait_routes(lab, where)
    wait_for("both addresses to move", lambda: metrics(a).value("client_moves_total") == 2)
    wait_for(
        "the old session to be killed",
        lambda: metrics(a).value("sessions_killed_total", openvpn="openvpn") >= 1,
    )
    after = metrics(a)
    observed = "convergence_seconds_count"
    assert after.value(observed) > before.value(observed)
    assert after.value("peer_clients", peer="vpnsrvB") == 2
    heard = "peer_last_heard_timestamp_seconds"
    assert after.value(heard, peer="vpnsrvB") > before.value(heard, peer="vpnsrvB")


def test_the_series_of_a_removed_peer_end(lab3: Lab) -> None:
    a, b, _ = lab3.servers
    start_daemons(lab3.servers, with_web)
    wait_for("C to be up", lambda: metrics(a).value("peer_up", peer="vpnsrvC") == 1)
    a.daemon.reload(with_web(a, peers=[b]))
    wait_for("C to be gone", lambda: not metrics(a).series("peer_up", peer="vpnsrvC"))
    assert "vpnsrvC" not in scrape(a)
