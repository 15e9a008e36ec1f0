"""cuberouted is killed, or ended, and started again."""

from __future__ import annotations

from tests.lab import ping, routes
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.waiting import wait_for

CLIENTS = {"host1": 0, "host2": 1, "host3": 2}


def test_a_crash_and_a_start_delete_no_right_route(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, two, _ = where
    a, *_ = lab3.servers
    listeners = [routes.Deletions(server.host) for server in lab3.servers]
    stream = ping.Stream(one.host, two.data)
    a.daemon.crash()
    assert a.daemon.command("status").returncode == 3
    a.daemon.start()
    a.daemon.ready()
    wait_for("A's peers to be up", lambda: peers_are_up(lab3, 0))
    stream.end()
    assert stream.lost() == 0
    wait_routes(lab3, where)
    assert [listener.seen() for listener in listeners] == [[], [], []]


def test_changes_during_a_crash_are_applied_after_the_start(lab3: Lab) -> None:
    where = share(lab3, CLIENTS)
    one, two, _ = where
    a, b, c = lab3.servers
    a.daemon.crash()
    two.roam(c)
    one.vanish()
    one.connect(b)
    a.daemon.start()
    where |= {two: c, one: b}
    wait_routes(lab3, where)
    assert_all_reach_all(where)


def test_a_restart_with_on_exit_keep_deletes_no_route(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    one, two = where
    start_daemons(lab.servers, lambda server: mesh(server, "on_exit = keep"))
    wait_routes(lab, where)
    a, _ = lab.servers
    listeners = [routes.Deletions(server.host) for server in lab.servers]
    stream = ping.Stream(one.host, two.data)
    assert a.daemon.stop() == 0
    a.daemon.start()
    a.daemon.ready()
    wait_for("A's peer to be up", lambda: peers_are_up(lab, 0))
    wait_for("B's peer to be up", lambda: peers_are_up(lab, 1))
    stream.end()
    assert stream.lost() == 0
    wait_routes(lab, where)
    assert [listener.seen() for listener in listeners] == [[], []]


def test_a_graceful_restart_loses_no_packet_in_either_direction(lab: Lab) -> None:
    one, two = where = share(lab, {"host1": 0, "host2": 1})
    a, _ = lab.servers
    listeners = [routes.Deletions(server.host) for server in lab.servers]
    streams = [ping.Stream(one.host, two.data, 0.02), ping.Stream(two.host, one.data, 0.02)]
    done = a.daemon.command("graceful-restart")
    assert done.returncode == 0, done.stderr
    assert "graceful restart: a stop within" in a.daemon.command("status").stdout
    assert a.daemon.stop() == 0
    a.daemon.start()
    a.daemon.ready()
    wait_for("A's peer to be up", lambda: peers_are_up(lab, 0))
    wait_for("B's peer to be up", lambda: peers_are_up(lab, 1))
    for stream in streams:
        stream.end()
    assert [stream.lost() for stream in streams] == [0, 0]
    assert all(stream.replies() for stream in streams)
    wait_routes(lab, where)
    assert [listener.seen() for listener in listeners] == [[], []]


def test_a_stop_after_the_time_of_a_graceful_restart_withdraws(lab: Lab) -> None:
    share(lab, {"host1": 0, "host2": 1})
    a, b = lab.servers
    assert a.daemon.command("graceful-restart", "--within", "300ms").returncode == 0
    wait_for("the time to pass", lambda: a.daemon.ask("status")["keeps_routes_for"] is None)
    assert a.daemon.stop() == 0
    assert not routes.ours(a.host)
    routes.wait_towards(b.host, {f"{a.data}/32": "tun1"}, timeout=1.0)


def test_a_second_daemon_on_the_same_control_socket_is_refused(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    a = lab.servers[0]
    second = a.host.start("second", *a.daemon.argv)
    assert second.wait() != 0
    assert "another cuberouted is running" in second.log
    assert a.daemon.running
    wait_routes(lab, where)


def peers_are_up(lab: Lab, index: int) -> bool:
    """Whether the server of that index has all its peers up."""
    return all(p["state"] == "up" for p in lab.servers[index].daemon.ask("status")["peers"])
