"""Debian's Prometheus on a host of the lab, with the project's rules."""

from __future__ import annotations

import json
import re
import signal
import urllib.parse
from collections.abc import Mapping
from typing import Any

from tests.lab.host import PROJECT, Host
from tests.lab.process import Process
from tests.lab.waiting import wait_for

PORT = 9657
"""Of cuberouted's metrics on every server."""

ADDRESS = "127.0.0.1:9090"
DIRECTORY = "/run/prometheus"
RULES = PROJECT / "conf/prometheus/cuberouted.rules.yml"
MINUTES = r"\[\d+m\]"
FOR = r"(?<= for: )\w+"

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: cuberouted
    static_configs:
"""

TARGET = """
      - targets: ["%s:%d"]
        labels: {instance: %s}
"""


class Prometheus:
    """A Prometheus on *host* that scrapes once a second. It only listens on loopback there.

    The rules are the project's, but fire sooner: ``for`` is two seconds, each range *window*, and a
    listing is too old after *old_listing* seconds.
    """

    def __init__(self, host: Host, window: str, old_listing: str) -> None:
        self._host = host
        self._process: Process | None = None
        rules = RULES.read_text().replace("> 180\n", f"> {old_listing}\n")
        rules = re.sub(MINUTES, f"[{window}]", re.sub(FOR, "2s", rules))
        host.write(f"{DIRECTORY}/rules.yml", rules)
        self.target({})

    def target(self, instances: Mapping[str, str]) -> None:
        """Scrape these from now on: the name of each node, and its address."""
        targets = "".join(TARGET % (address, PORT, name) for name, address in instances.items())
        self._host.write(f"{DIRECTORY}/prometheus.yml", CONFIG + (targets or "      []\n"))
        if self._process:
            self._process.send(signal.SIGHUP)

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self._process = self._host.start(
            "prometheus",
            "prometheus",
            f"--config.file={DIRECTORY}/prometheus.yml",
            f"--storage.tsdb.path={DIRECTORY}/data",
            f"--web.listen-address={ADDRESS}",
            "--log.level=warn",
        )
        self._process.wait_for("to be ready", self._is_ready)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of *expression* now: ``metric``, which is the labels, and ``value`` of each.

        Raises:
          AssertionError: it is no valid expression, or cannot be evaluated; with the reason.
        """
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def query_range(self, expression: str, seconds: float) -> list[dict[str, Any]]:
        """As `query`, over the last *seconds*, as a graph asks."""
        now = self._get("query", query="time()")["result"][0]
        times = {"start": now - seconds, "end": now, "step": 1.0}
        found: list[dict[str, Any]] = self._get("query_range", query=expression, **times)["result"]
        return found

    def firing(self) -> set[str]:
        """The alerts that fire now, each as its name, instance and peer, where it has them."""
        alerts = self._get("alerts")["alerts"]
        return {_short(alert["labels"]) for alert in alerts if alert["state"] == "firing"}

    def rule_errors(self) -> list[str]:
        """The alerts whose expression cannot be evaluated, each with the reason."""
        rules = [rule for group in self._get("rules")["groups"] for rule in group["rules"]]
        assert rules
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] != "ok"]

    def wait_firing(self, *alerts: str, timeout: float = 40.0) -> None:
        """Waits until exactly these alerts fire, as `firing` writes them."""

        def look() -> bool:
            seen = self.firing()
            assert seen == set(alerts), f"{sorted(seen)}, wanted {sorted(alerts)}"
            return True

        wait_for("the alerts", look, timeout)

    def wait_fired(self, *alerts: str, timeout: float = 40.0) -> None:
        """Waits until each of these alerts has fired, whether or not all at one time."""
        seen: set[str] = set()

        def look() -> bool:
            seen.update(self.firing())
            assert seen >= set(alerts), f"{sorted(seen)}, wanted {sorted(alerts)}"
            return True

        wait_for("the alerts", look, timeout)

    def _is_ready(self) -> bool:
        return "Ready" in self._host.try_run("curl", "-s", f"http://{ADDRESS}/-/ready").stdout

    def _get(self, what: str, **parameters: str | float) -> Any:
        url = f"http://{ADDRESS}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        answer = json.loads(self._host.run("curl", "-s", url))
        assert answer["status"] == "success", f"{parameters.get('query', what)}: {answer['error']}"
        return answer["data"]


def _short(labels: Mapping[str, str]) -> str:
    """``PeerDown vpnsrvA vpnsrvB`` for CuberoutedPeerDown."""
    name = labels["alertname"].removeprefix("Cuberouted")
    return " ".join([name, *(labels[key] for key in ("instance", "peer") if key in labels)])
