"""Routes of others that cut clients off are told of until they are gone, with whom and the cure."""

from __future__ import annotations

from tests.lab import ping
from tests.lab.configs import mesh
from tests.lab.lab import Lab
from tests.lab.mesh import assert_all_reach_all, connect, share, start_daemons, wait_routes
from tests.lab.server import Server
from tests.lab.waiting import wait_for


def is_well(server: Server) -> bool:
    """Whether `status` reports no problem at all."""
    return server.daemon.command("status").returncode == 0


def reported(server: Server, *starts: str) -> bool:
    """Whether `status` shows exactly these foreign routes, and exits with 1."""
    problems = server.daemon.ask("status")["problems"]
    assert [p.partition(" in table")[0] for p in problems] == [*starts], problems
    return server.daemon.command("status").returncode == 1


def test_foreign_routes_that_cut_clients_off_are_reported_while_they_stand(lab: Lab) -> None:
    where = share(lab, {"host1": 0, "host2": 1})
    one, two = where
    a, b = lab.servers
    wait_for("A and B to be well", lambda: is_well(a) and is_well(b))

    def cut_off() -> bool:
        return not ping.reaches(two.host, one.data)

    route = f"{one.data}/32 dev tun1"
    a.host.ip(f"route add {route}")
    wait_for("the route to be reported", lambda: reported(a, route))
    assert cut_off()
    told = (
        f"{route} in table main (protocol boot): packets to host1, {one.data}, which is connected"
        f" here, leave by tun1; remove it where it was configured, or by"
        f" `ip route del {route} table main`"
    )
    status = a.daemon.ask("status")
    assert (status["problems"], status["routes"]["conflicts"]) == ([told], 1)
    assert told in a.daemon.command("status").stdout
    assert told in a.daemon.command("check").stdout
    a.host.ip(f"route del {route} table main")
    wait_for("A to be well", lambda: is_well(a))
    assert a.daemon.process.log.count(told) == 1
    a.daemon.process.wait_log(f"{route} in table main (protocol boot): no longer in the way")

    # on the way to a client elsewhere, in both families, and in a table that a rule consults
    a.host.ip(
        f"route add {two.data}/32 dev tun0 metric 20",
        f"route add blackhole {two.data6}/128 metric 20",
        "route add unreachable 10.100.100.8/29 table 50",
    )
    wait_for(
        "both to be reported",
        lambda: reported(a, f"{two.data}/32 dev tun0", f"blackhole {two.data6}/128"),
    )
    a.host.ip("rule add priority 100 table 50")
    unreachable = "unreachable 10.100.100.8/29"
    wait_for(
        "the table to be reported",
        lambda: reported(a, unreachable, f"blackhole {two.data6}/128"),
    )
    assert "and to 1 more client are rejected" in a.daemon.command("status").stdout
    a.host.ip(
        "rule del priority 100 table 50",
        f"route del {two.data}/32 dev tun0 metric 20",
        f"route del blackhole {two.data6}/128 metric 20",
    )
    wait_for("A to be well", lambda: is_well(a))
    assert_all_reach_all(where)


def test_foreign_routes_in_our_own_table_are_reported(lab: Lab) -> None:
    where = connect(lab, {"host1": 0, "host2": 1})
    start_daemons(lab.servers, lambda server: mesh(server, "route_table = 100"))
    wait_routes(lab, where, table="100")
    a, _ = lab.servers
    a.host.ip("route add default dev tun0 table 100", "route add 203.0.113.0/24 dev tun1 table 100")
    shown = "0.0.0.0/0 dev tun0, 203.0.113.0/24 dev tun1"
    wait_for("A to tell", lambda: shown in "".join(a.daemon.ask("status")["problems"]))
    assert "table 100 (route_table) has routes that are not" in a.daemon.command("check").stdout
    assert "dev tun0" not in a.host.try_run("ip", "route", "get", "198.51.100.1").stdout
    assert_all_reach_all(where)
    a.host.ip("route flush table 100 proto boot")
    wait_for("A to be well", lambda: is_well(a))
    # a route in the main table at a prefix of ours carries nothing: ours is found before
    _, two = where
    a.host.ip(f"route add {two.data}/32 dev tun0")
    assert_all_reach_all(where)
    assert is_well(a)
