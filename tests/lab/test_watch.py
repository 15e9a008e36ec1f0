"""`cuberouted watch`, `monitor` and `history` on a real mesh."""

from __future__ import annotations

import json

from tests.lab.lab import Lab
from tests.lab.mesh import share
from tests.lab.waiting import wait_for
from tests.unit.cli.watch.tmux import terminal


def test_a_roam_is_on_the_screen_in_monitor_and_in_history(lab3: Lab) -> None:
    where = share(lab3, {"host1": 0, "host2": 1})
    a, _, c = lab3.servers
    client = next(client for client in where if client.name == "host2")
    moved = f"host2 ({client.data}) moved vpnsrvB -> vpnsrvC, routed after "
    command = [*a.daemon.argv[:-1], "-c", a.daemon.argv[-1], "monitor", "--json"]
    monitor = a.host.start("monitor", *command)
    with terminal(80, 24) as screen:
        screen.watch(a.host.path("run/cuberouted/control.sock"))
        screen.wait("host2", "vpnsrvB")
        client.roam(c)
        screen.wait(moved, "moved from vpnsrvB")
        screen.type("q")
        screen.assert_restored(0)
    wait_for("monitor to have the roam", lambda: moved in monitor.log)
    done = a.daemon.command("history", "--json", "host2")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    moves = [e for e in events if e["type"] == "client_moved" and e["address"] == str(client.data)]
    assert [(move["from_node"], move["to_node"]) for move in moves] == [("vpnsrvB", "vpnsrvC")]
    assert 0 < moves[0]["routed_after"] < 1
