"""What the fields of replies mean, where their struct does not have it in `msgspec.Meta`."""

from __future__ import annotations

INTRODUCTION = (
    "The daemon's API, HTTP/1.1 on its control socket: `curl --unix-socket"
    " /run/cuberouted/control.sock http://localhost/v1/status`. Reading is for root, the daemon's"
    " user and the group cuberouted; changing for root and the group cuberouted-admin. Times are in"
    " seconds; absolute times are ISO 8601 in UTC. A reader has to ignore fields that it does not"
    " know: more may be added within a version."
)

EVENTS = {
    "type": "The type of the event.",
    "number": "1, 2, ... since the start of the daemon.",
    "time": "When it was published, in ISO 8601.",
    "level": "The severity.",
    "text": "The event as a sentence: its line in the log.",
    "node": "The node whose daemon saw it.",
    "address": "An address without length, or a network with it.",
    "client": "The common name of the client.",
    "kind": "client: an address of a client; network: a network behind one; server: the data"
    " address of a server.",
    "from_node": "The node where the client or the address was.",
    "to_node": "The node where the client or the address is.",
    "found": "Whether the session is older than the news of it: the client did not connect just"
    " now.",
    "routed_after": "Seconds from the news of the session to the acknowledgement of the route by"
    " the kernel, both on this node. Null: no route was needed or possible.",
    "why": "The reason, as a clause without a full stop; may be empty.",
    "openvpn": "The name of the OpenVPN process in the configuration; empty if there is but one.",
    "cid": "The client id in OpenVPN.",
    "at_node": "The node where the client was connected.",
    "by": "The user who asked for it.",
    "other_client": "The common name of the other client with this address.",
    "other_node": "The node where the other client is.",
    "source": 'Where the prefix comes from, as in "peer vpnsrvB" or "openvpn udp".',
    "trace": "What became of the route in the kernel.",
    "via": "The peer, or the OpenVPN process, to which the route leads or led; may be empty.",
    "routes": "How many routes.",
    "rules": "How many policy rules.",
    "peer": "The name of the peer in the configuration.",
    "known_as": "The name of the peer in the log and in sentences.",
    "old": "The state before.",
    "new": "The state now.",
    "what": "Which part, or which kind of thing.",
    "shown": "Those that were restored, for people.",
    "version": "The version of cuberouted.",
    "control_socket": 'The path of the control socket, or "missing".',
    "web_listen": "The address and port of the web listener; empty without one.",
    "path": "The configuration file.",
    "missing": "The names of interfaces that are missing.",
    "networks": "The networks in which clients are accepted.",
    "count": "How many.",
    "since": "The start of the session in Unix seconds of that node, or 0.",
    "service": "The name of the service.",
    "healthy": "Whether the check succeeds.",
    "of_node": "The node whose state has changed.",
    "clients": "How many clients there were.",
    "moved": "How many clients are at another node.",
    "came_back": "How many clients are here again.",
    "left": "How many clients are nowhere.",
}
"""By name: a field has one meaning in all events."""

_NAME = "Its name."
_STATE = "Its state."
_DETAIL = "Why it is in that state; may be empty."
_KIND = (
    "client: an address of a client; network: a network behind one; server: the data address of a"
    " server."
)
_LAST_HEARD = "Seconds since its last message; null before the first one."
_OPENVPN = "The name of the OpenVPN process in the configuration; empty if there is but one."
_HOST_OR_NETWORK = "An address without length, or a network with it."

REPORTS: dict[str, dict[str, str]] = {
    "ErrorReply": {"error": "What is wrong, and what to do."},
    "Status": {
        "node": "The name of this node.",
        "uptime": "Seconds since the start of the daemon.",
        "openvpn": "The OpenVPN processes of this host, in the order of the configuration.",
        "peers": "The peers, in the order of the configuration.",
        "routes": "The numbers of routes.",
        "problems": "What is wrong and what to do, a sentence each.",
        "rejected_connections": "How many connections to the publishing socket were rejected.",
        "warnings": "What may be wrong, a sentence each.",
    },
    "OpenVPNRow": {
        "name": "Its name in the configuration; empty if there is but one.",
        "state": _STATE,
        "version": "The version of OpenVPN; null while it is unknown.",
        "clients": "How many clients are shared.",
        "detail": _DETAIL,
        "counted": "How many clients OpenVPN counts; null while it is unknown.",
    },
    "PeerRow": {
        "name": "Its name: of the configuration, or else its own.",
        "state": "down, syncing, up or restarting.",
        "clients": "How many clients it has.",
        "last_heard": _LAST_HEARD,
        "detail": _DETAIL,
        "encrypted": "Whether the connection is encrypted (CURVE).",
        "refused": "How many of its messages and prefixes were not accepted, since the start.",
        "known_as": "Its name in the log and in sentences.",
        "refused_prefixes": "How many prefixes it advertises now that the policy refuses.",
        "unreceived_snapshots": "Connections in a row that ended before it had our routes.",
    },
    "RouteCounts": {
        "desired": "How many routes there should be.",
        "installed": "How many of them are in the kernel.",
        "conflicts": "How many have no effect, because of foreign routes.",
    },
    "Clients": {"clients": "Clients and networks behind them, sorted by address."},
    "ClientRow": {
        "address": _HOST_OR_NETWORK,
        "node": "The node where it is connected.",
        "name": "The client's common name.",
        "kind": _KIND,
        "since": "The start of the session, ISO 8601 in UTC.",
        "local": "Whether it is connected to this node.",
    },
    "RouteInfos": {
        "node": "The name of this node.",
        "routes": "By destination, with its length.",
    },
    "RouteInfo": {
        "node": "The node to which the route leads.",
        "kind": _KIND,
        "name": "The client's common name, or the server's name.",
        "age": "Seconds since the route was installed.",
    },
    "Routes": {
        "node": "The name of this node; null if the daemon does not run.",
        "routes": "A row for each route, sorted by destination.",
    },
    "RouteRow": {
        "destination": "The destination, with its length.",
        "node": "The node to which the route leads; null if the daemon does not know the route.",
        "interface": "The interface; null if it is gone meanwhile.",
        "gateway": "The address of the gateway; null without one.",
        "kind": f"{_KIND} Null if the daemon does not know the route.",
        "name": "The client's common name, or the server's name; null as before.",
        "age": "Seconds since the route was installed; null as before.",
    },
    "CcdReport": {
        "version": "The version of this form.",
        "verdict": "The result, in a sentence.",
        "written": "Whether the changes are made: false with --dry-run, or if there are mistakes.",
        "networks": "The clients' subnets.",
        "clients": "The number of hosts of the hosts file in these subnets, without servers.",
        "changes": "The files that are made, changed or removed, by name.",
        "unchanged": "The number of the command's files that are as the hosts file says.",
        "servers": "Hosts that got no file, because they are servers.",
        "outside": "Hosts that got no file, because their address is in none of the subnets.",
        "warnings": "Clients that do not get the address of the hosts file, and the like.",
        "mistakes": "What is wrong in the hosts file and the directory; nothing is written then.",
    },
    "CcdChange": {
        "name": "The file's name: the client's common name.",
        "action": "What becomes of the file.",
        "options": "The options that the command writes into it.",
        "diff": "The change as a unified diff; what is not printable is escaped.",
    },
    "CcdNote": {
        "file": "The file that it is about, or the directory.",
        "line": "The number of the line there, or null for the whole file.",
        "text": "What is.",
    },
    "CheckReport": {
        "version": "The version of this form.",
        "level": "The worst level of all findings.",
        "verdict": "Whether cuberouted would work on this host, in a sentence.",
        "counts": "The number of findings, by level.",
        "findings": "The findings, in the order of the checks.",
    },
    "FindingRow": {
        "level": "ok, could not look, warning or problem.",
        "id": "Which check.",
        "title": "The check, in words.",
        "subject": "What was looked at.",
        "text": "What is.",
        "why": "Why it matters.",
        "advice": "What to do, in words; may be empty.",
        "command": "A line for a shell that mends it; may be empty.",
        "anchor": "Where it is explained.",
    },
    "Nodes": {"node": "The name of this node.", "nodes": "A row for each node, this one first."},
    "NodeRow": {
        "name": _NAME,
        "local": "Whether it is this node.",
        "state": "Of a peer: down, syncing, up or restarting; of this node: running.",
        "clients": "How many addresses have their client there.",
        "last_heard": "Seconds since its last message; null for this node and before the first.",
        "address": "Its address in the tunnel; null for this node.",
        "interface": "The interface of the tunnel to it; null for this node.",
        "encrypted": "Whether the connection is encrypted (CURVE); null for this node.",
        "openvpn": "The OpenVPN processes of this node; empty for others.",
    },
    "DisconnectOrder": {
        "client": "The common name of the client, as the listings show it.",
        "from": "Only at this node; null: wherever the client is connected.",
    },
    "DisconnectReport": {
        "client": "The client of the order.",
        "nodes": "What each node did that was asked.",
        "from": "The node of the order, or null.",
    },
    "NodeDisconnected": {
        "node": _NAME,
        "outcome": "ended, not_found (nobody there has that name), refused (the node does not"
        " allow it), failed (sessions are left there, or may be) or no_answer (it may still end"
        " them).",
        "client_ids": "Of the sessions that were ended; -1 where OpenVPN has none.",
        "why": "A clause; empty for ended and not_found.",
    },
    "PeersReport": {"node": "The name of this node.", "peers": "All configured peers."},
    "PeerCheck": {
        "name": _NAME,
        "known_as": "Its name in the log and in sentences.",
        "interface": "The interface of the tunnel to it.",
        "address": "Its address in the tunnel.",
        "tcp_port": "The TCP port on which it listens.",
        "state": _STATE,
        "detail": _DETAIL,
        "connection": "Why the connection to it fails; empty if it does not.",
        "port": "Why its TCP port cannot be reached; empty if it can.",
        "subscribed": "Whether it is connected to this node.",
        "mtu": "The MTU of the interface that leads to it, or 0.",
        "answer": "What it has replied; null without a reply.",
    },
    "PeerAnswer": {
        "cuberouted": "The version of cuberouted there.",
        "clock_offset": "Seconds that its clock is ahead.",
        "clock_error": "How many seconds the offset may be wrong.",
        "state": "The state of this node as the peer sees it.",
        "detail": "Why this node is in that state there.",
        "mtu": "The MTU of its interface to this node, or 0.",
        "files": "Files that all servers have to share, compared.",
    },
    "SharedFile": {
        "kind": "ccd, crl, tls_key or token_secret.",
        "openvpn": _OPENVPN,
        "verdict": "same, differs or unknown.",
        "text": "A clause; empty for same.",
    },
    "Why": {
        "target": "What was asked for.",
        "node": "The name of this node.",
        "reached": "Whether packets to all of it get there, as far as can be seen.",
        "verdict": "Where they go, or why they do not get there.",
        "advice": "What to do, or empty.",
        "addresses": "What is known of each of its addresses.",
        "matches": "Instead: the addresses of a name, if there are too many, or the names that are"
        " like an unknown one.",
    },
    "WhyAddress": {
        "address": _HOST_OR_NETWORK,
        "reached": "Whether packets to it get there, as far as can be seen.",
        "verdict": "Where they go, or why they do not get there.",
        "advice": "What to do, or empty.",
        "notes": "What else to know, a sentence each.",
        "claims": "What nodes offer for it, and for networks around it.",
        "routes": "Routes in the kernel to it, and to networks around it.",
        "rules": "Policy rules of this host, besides those of every Linux host.",
        "lookups": "What the kernel does with packets to it.",
        "peer": "The peer to which the packets go; null if there is none.",
        "pings": "What was sent to test the way.",
    },
    "WhyClaim": {
        "prefix": "The address or network, with its length.",
        "node": "The node that offers it.",
        "name": "The client's common name, or the server's name.",
        "kind": _KIND,
        "source": "local, peer, configured or kernel (found at the start).",
        "since": "The start of the session, ISO 8601 in UTC; null if there is none.",
        "confirmed": "Whether a complete listing of its node has shown it.",
        "best": "Whether the route in the kernel should follow it.",
        "refused": "Whether the policy does not accept it.",
        "why": "Why the route does not follow it; empty for the best one.",
    },
    "WhyRoute": {
        "text": "The route as `ip route` prints it.",
        "owner": "cuberouted, kernel, openvpn (it leads to a device of OpenVPN) or foreign.",
        "used": "Whether packets from this host follow it.",
        "age": "Seconds since cuberouted installed it; null for others.",
        "trace": "What last became of it; empty for others and if it is unknown.",
        "traced": "When, ISO 8601 in UTC; null if it is unknown.",
    },
    "WhyLookup": {
        "origin": "The interface where the packet comes in; empty: it is from this host.",
        "source": "Its source address; may be empty.",
        "text": "The route, or why there is none.",
        "interface": "Where it goes out; null without a route.",
        "gateway": "The gateway; null if there is none.",
        "right": "Whether it goes where the client is.",
    },
    "WhyPeer": {
        "name": _NAME,
        "state": _STATE,
        "last_heard": _LAST_HEARD,
        "detail": _DETAIL,
        "interface": "The interface of the tunnel to it.",
        "mgmt_ip": "Its address in the tunnel.",
        "data_ip": "Its address in the clients' network; null if it is unknown.",
    },
    "WhyPing": {
        "address": "Where the packets were sent.",
        "what": "peer or client: whose address it is.",
        "interface": "By which interface.",
        "size": "Bytes of a packet with its IP header.",
        "sent": "How many were sent.",
        "received": "How many were answered.",
        "rtt": "The median of the round trips in seconds; null without an answer.",
        "problem": "Why it could not be tried; empty if it could.",
    },
    "WhyMatch": {
        "address": _HOST_OR_NETWORK,
        "name": "The client's common name.",
        "node": "The node where it is connected.",
    },
}
"""By struct and field."""
