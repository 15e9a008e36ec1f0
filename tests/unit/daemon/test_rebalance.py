"""Clients that are sent on until all servers have their share: whole daemons on fakes."""

from __future__ import annotations

import pytest
import trio

from cuberouted.api.report_drain import DrainOrder, RebalanceOrder
from cuberouted.daemon.maintenance import MaintenanceError
from cuberouted.daemon.rebalancer import ENOUGH
from cuberouted.events import ClientSentOn
from tests.fakes.openvpn_listing import Client
from tests.unit.daemon.meshes import started

TOLD = 2.0
"""Seconds until every node knows how many clients each has."""


def connect_clients(server, count, first=10):
    for number in range(first, first + count):
        server.connect(f"host{number}", f"10.100.100.{number}")


def let_them_go(server, *others):
    """Clients that *server* sends on connect to *others* in turns."""
    turns = list(others)

    def connect(client: Client):
        turns.append(turns.pop(0))
        turns[-1].connect(client.name.decode(), client.address.decode())

    server.openvpn.on_sent_on = connect


async def order(server, **values):
    return await server.daemon.maintenance.rebalance(RebalanceOrder(**values), "root")


def sent_on(server):
    return [e for e in server.daemon.events.after(0, 100_000) if isinstance(e, ClientSentOn)]


def counts(mesh):
    return [len(server.openvpn.clients) for server in mesh.servers]


async def test_the_surplus_goes_to_the_others_at_its_pace(mesh, autojump_clock):
    a, b, c = await started(mesh)
    connect_clients(a, 30)
    let_them_go(a, b, c)
    await trio.sleep(TOLD)
    report = await order(a)
    assert (report.clients, report.share, report.surplus, report.running) == (30, 10.0, 20, True)
    assert report.text == "sends 10 clients a minute on, for some 2.0 min"
    began = trio.current_time()
    await mesh.until(lambda: counts(mesh) == [10, 10, 10], 600)
    assert 105 < trio.current_time() - began < 135
    await trio.sleep(120)
    assert counts(mesh) == [10, 10, 10]
    assert len(sent_on(a)) == 20
    assert sent_on(a)[0].why == "rebalance by root"
    report = await order(a)
    assert (report.surplus, report.running, report.text) == (0, False, "the clients are even")


async def test_at_a_fast_pace_not_too_many_go(mesh, autojump_clock):
    a, b, c = await started(mesh)
    connect_clients(a, 30)
    let_them_go(a, b, c)
    await trio.sleep(TOLD)
    await order(a, per_minute=600.0)
    await trio.sleep(60)
    assert counts(mesh)[0] in (10, 11)


async def test_capacities_make_the_share(mesh, autojump_clock):
    a = mesh.add("A", "capacity = 20")
    b = mesh.add("B", "capacity = 80")
    await mesh.start()
    connect_clients(a, 10)
    let_them_go(a, b)
    await trio.sleep(TOLD)
    assert (await order(a, per_minute=60.0)).surplus == 8
    await trio.sleep(60)
    assert counts(mesh) == [2, 8]


async def test_clients_that_all_come_back_are_given_up(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    connect_clients(a, 60)
    let_them_go(a, a)
    await trio.sleep(TOLD)
    report = await order(a, per_minute=60.0)
    await trio.sleep(600)
    assert len(sent_on(a)) == len({event.client for event in sent_on(a)})
    assert len(sent_on(a)) <= min(60, 2 * report.surplus + ENOUGH)
    assert not (await order(a, stop=True)).running


async def test_it_is_told_which_server_is_fuller(mesh, autojump_clock):
    a, b, _ = await started(mesh)
    connect_clients(b, 9)
    await trio.sleep(TOLD)
    report = await order(a)
    assert (report.running, report.fuller) == (False, "B")
    assert report.text == "B has more than its share: run it there"


@pytest.mark.parametrize("how", ["stop", "drain", "others gone"])
async def test_it_ends(mesh, autojump_clock, how):
    a, b, c = await started(mesh, "ABC", "hold_time = 3s")
    connect_clients(a, 30)
    await trio.sleep(TOLD)
    await order(a)
    await mesh.until(lambda: len(sent_on(a)) == 2)
    if how == "stop":
        report = await order(a, stop=True)
        assert (report.sent, report.running, report.text) == (2, False, "stopped")
        assert (await order(a, stop=True)).text == "nothing was running"
    elif how == "drain":
        await a.daemon.maintenance.drain(DrainOrder(over=86400.0), "root")
    else:
        await b.stop()
        await c.stop()
    before = len(sent_on(a))
    await trio.sleep(60)
    assert len(sent_on(a)) <= before + 1  # the first one of a drain


async def test_a_node_that_is_drained_refuses(mesh, autojump_clock):
    a, _, _ = await started(mesh)
    await trio.sleep(TOLD)
    await a.daemon.maintenance.drain(DrainOrder(), "root")
    with pytest.raises(MaintenanceError, match="all its clients go"):
        await order(a)
