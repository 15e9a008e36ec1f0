"""All checks: their ids, which never change their meaning, and why each of them matters. Pure.

docs/checks.md explains every id under a heading of that name; a test compares both.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import attrs


@attrs.frozen
class Check:
    """What all findings with the same id have in common.

    ``why``: why it matters, a sentence. ``waits``: cuberouted starts nevertheless, and waits.
    """

    id: str
    title: str
    why: str
    waits: bool = False

    @property
    def anchor(self) -> str:
        """Where the documentation explains it."""
        return f"docs/checks.md#{self.id}"


CHECKS: Final = MappingProxyType(
    {
        check.id: check
        for check in (
            Check(
                "privilege-missing",
                "Rights of the daemon",
                "Without CAP_NET_ADMIN the kernel refuses every route.",
            ),
            Check(
                "unit-broken",
                "The systemd unit",
                "systemd cannot start the daemon.",
            ),
            Check(
                "config-unreadable",
                "The configuration file",
                "The daemon runs as a user of its own, who has to read this file.",
            ),
            Check(
                "key-unusable",
                "The secret key",
                "With `secret_key_file`, the daemon does not start without the key.",
            ),
            Check(
                "hook-unusable",
                "The hook",
                "The daemon's user cannot run the command, so that no event reaches it.",
            ),
            Check(
                "hosts-file-unwritable",
                "The directory of the hosts file",
                "The daemon's user cannot write there, so that DNS servers learn no names.",
            ),
            Check(
                "interface-missing",
                "The interfaces",
                "Without the interface nothing goes to the clients or servers behind it.",
                waits=True,
            ),
            Check(
                "tunnel-shared",
                "A tunnel for each peer",
                "The interface alone is the nexthop there, so the kernel cannot tell the peers"
                " apart; the second one gets no routes.",
            ),
            Check(
                "peer-is-self",
                "Addresses of the peers",
                "A packet to this host's own address never leaves it.",
            ),
            Check(
                "peer-off-link",
                "Networks of the peers",
                "What is sent to an address that is not behind the interface is lost.",
            ),
            Check(
                "networks-unknown",
                "The client networks",
                "Only prefixes inside `allowed_networks` are shared and accepted.",
                waits=True,
            ),
            Check(
                "peer-outside-networks",
                "Data addresses of the peers",
                "No route is made for an address outside `allowed_networks`, so clients here do"
                " not reach that server.",
            ),
            Check(
                "forwarding-off",
                "Forwarding",
                "The kernel drops what arrives there for somebody else: clients on different"
                " servers do not reach each other.",
            ),
            Check(
                "rp-filter-strict",
                "Reverse path filter",
                "Packets of a client that has just moved to another server arrive on another"
                " interface than the route back to it, and are dropped.",
            ),
            Check(
                "forward-filter",
                "Packet filters",
                "What a packet filter drops is lost while `cuberouted status` shows no problem.",
            ),
            Check(
                "nat-between-servers",
                "Translated addresses",
                "A client on another server gets packets from this server's address: it cannot"
                " answer, or takes all clients here for one.",
            ),
            Check(
                "tunnel-mtu-small",
                "The MTU of the tunnels",
                "A client's largest packets to a client of another server do not fit through the"
                " tunnel: each sender has to learn that first, and one that ignores ICMP gets"
                " nothing through.",
            ),
            Check(
                "nexthops-unsupported",
                "Nexthop objects",
                "Every route of cuberouted refers to a nexthop object.",
            ),
            Check(
                "frr-nexthops",
                "FRR",
                "FRR makes a nexthop object under the same id when cuberouted deletes one, and"
                " leaves it behind; their number grows.",
            ),
            Check(
                "source-check",
                "Amazon's source/destination check",
                "With it, Amazon drops packets whose addresses are not the instance's own.",
            ),
            Check(
                "networkd-removes-routes",
                "systemd-networkd's settings",
                "A restart of systemd-networkd, also by an update, removes the routes, rules and"
                " nexthop objects of other programs.",
            ),
            Check(
                "networkd-manages-tunnel",
                "systemd-networkd's interfaces",
                "systemd-networkd before version 256 removes the nexthop objects of other programs"
                " on interfaces that it manages, whatever its settings, and the routes with them.",
            ),
            Check(
                "openvpn-absent",
                "OpenVPN",
                "Its management interface or status file is the only source of what clients are"
                " connected here.",
                waits=True,
            ),
            Check(
                "openvpn-unusable",
                "Access to OpenVPN",
                "The daemon runs as a user of its own, who has to use the management socket or read"
                " the status file.",
            ),
            Check(
                "password-unreadable",
                "The management password",
                "Without the password OpenVPN refuses the daemon.",
            ),
            Check(
                "management-exposed",
                "Others at the management interface",
                "Whoever connects to OpenVPN's management interface can end sessions and stop"
                " OpenVPN, and keeps cuberouted out meanwhile.",
            ),
            Check(
                "management-taken",
                "The one place at the management interface",
                "OpenVPN serves one program at a time there; cuberouted would wait.",
            ),
            Check(
                "openvpn-config-unread",
                "OpenVPN's configuration",
                "What OpenVPN does with addresses and sessions is in its own configuration.",
            ),
            Check(
                "dco-ghosts",
                "Ghost clients with DCO",
                "With DCO, OpenVPN 2.6 before 2.6.20 and 2.7 before 2.7.0 may list clients that"
                " have gone; they stay shared.",
            ),
            Check(
                "tap-device",
                "A tun device for the clients",
                "cuberouted routes IP prefixes, and OpenVPN's list has no IP address of a client of"
                " a tap device.",
            ),
            Check(
                "ipv6-from-pool",
                "IPv6 addresses from a pool",
                "Every server gives the same addresses of the pool to its own clients, so one"
                " address belongs to several clients.",
            ),
            Check(
                "pool-overlap",
                "Address pools",
                "An address that two servers give to different clients leads to one of them only.",
            ),
            Check(
                "pools-shared",
                "Address pools of two OpenVPN processes on one host",
                "An address that two processes give to different clients leads to one of them"
                " only.",
            ),
            Check(
                "fixed-addresses-differ",
                "One address for each client",
                "A client that changes from one process to the other gets another address, and is"
                " not reached at the one that others know.",
            ),
            Check(
                "max-clients-low",
                "The number of clients",
                "When the other servers are down, all clients come here; a full server does not"
                " send them on.",
            ),
            Check(
                "token-unshared",
                "Authentication tokens",
                "Another server, and this one after a restart, does not accept the token: the"
                " client's user has to log in again.",
            ),
            Check(
                "verb-high",
                "The verbosity of OpenVPN's log",
                "With more than 4 OpenVPN would log every packet to cuberouted, which therefore"
                " does not read the log, and notices later that a client has gone.",
            ),
            Check(
                "client-auth-foreign",
                "Who decides about clients",
                "Without an answer no client can connect, and cuberouted gives none: it does not"
                " use such an interface.",
            ),
            Check(
                "management-signal",
                "What OpenVPN does when cuberouted leaves",
                "OpenVPN restarts whenever cuberouted is stopped or restarted, and all its clients"
                " lose their connection.",
            ),
            Check(
                "duplicate-names",
                "One session for each client",
                "A name that is connected twice may have two addresses, and cuberouted never ends a"
                " session of such a name.",
            ),
            Check(
                "client-to-client",
                "Packets between clients of one server",
                "OpenVPN sends packets to a client that has moved into its old session, until that"
                " ends, whatever the kernel's routes are.",
            ),
            Check(
                "service-given-to-clients",
                "Addresses of services and of clients",
                "The servers refuse a route to a client that has the address of a service: nobody"
                " but its own server reaches that client.",
            ),
            Check(
                "service-on-interface",
                "Addresses of services and of this host",
                "This host keeps packets to an address that it has for itself, also while another"
                " server has the service.",
            ),
            Check(
                "service-outside-networks",
                "Networks of the services",
                "A server without this section accepts only addresses inside `allowed_networks`, so"
                " its clients do not reach the service.",
            ),
            Check(
                "service-command-unusable",
                "Commands of the services",
                "A check that cannot be run fails, and so does a command that has to succeed before"
                " the address is taken.",
            ),
            Check(
                "state-unwritable",
                "The state directory",
                "A restart of the daemon ends a drain or maintenance that cannot be kept there:"
                " clients and services come back.",
            ),
            Check(
                "daemon-unreachable",
                "The daemon's control socket",
                "Without its answer nothing is known of OpenVPN and the peers.",
            ),
            Check(
                "openvpn-not-connected",
                "OpenVPN, as the daemon sees it",
                "Clients that OpenVPN does not list are not shared.",
            ),
            Check(
                "peer-not-up",
                "Peers, as the daemon sees them",
                "The clients of a peer that is not heard are not reached from here.",
            ),
            Check(
                "daemon-reports",
                "What the daemon reports",
                "The daemon sees what becomes of its routes and clients.",
            ),
            Check(
                "port-taken",
                "The port for the peers",
                "Peers cannot connect to an address on which the daemon cannot listen.",
            ),
            Check(
                "web-unusable",
                "The address of the web listener",
                "Monitoring and load balancers that get no answer there take this server for dead.",
            ),
            Check(
                "web-exposed",
                "Who reads the web listener",
                "It asks for no password, and serves names, addresses and whereabouts of clients"
                " unless `web_names = no`: personal data.",
            ),
            Check(
                "metrics-missing",
                "Metrics for Prometheus",
                "Prometheus sees neither this server nor that something is wrong with it.",
            ),
            Check(
                "peer-port",
                "The way to a peer",
                "Without a connection to a peer its clients are not reached from here.",
            ),
            Check(
                "peer-keys",
                "Admission by a peer",
                "A peer accepts the addresses or keys that its configuration names, and no others.",
            ),
            Check(
                "peer-version",
                "Protocol versions",
                "Nodes with different protocol versions do not exchange routes.",
            ),
            Check(
                "peer-way-back",
                "The way back from a peer",
                "Each node connects to each: a peer that does not receive from this node has no"
                " route to the clients here.",
            ),
            Check(
                "peer-silent",
                "Answers of a peer",
                "A peer that is connected answers within seconds.",
            ),
            Check(
                "peer-packets",
                "Full-size packets to a peer",
                "Small packets get through while large ones are lost: a snapshot does not arrive,"
                " and connections of clients hang.",
            ),
            Check(
                "peer-clock",
                "The clocks",
                "The start of a session decides which of two sessions is the newer one where"
                " nothing else does, and times of events are compared between servers.",
            ),
            Check(
                "peer-files",
                "The same files on all servers",
                "A client gets another address at another server, is refused there, or is accepted"
                " where its certificate was revoked.",
            ),
        )
    }
)
"""By id, in the order of their findings."""
