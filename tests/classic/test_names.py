"""
The original's names: where they are, and which arguments they take.
"""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import network
from atmosphere.mesh import join
from atmosphere.network import nat, relay, stun

PLACES: dict[str, tuple[str, ...]] = {
    "atmosphere.network": (
        *("PublicEndpoint", "discover_public_ip", "get_local_ip", "NetworkInfo"),
        *("gather_network_info", "NATTraversal", "ConnectionAttempt", "punch_hole"),
        *("establish_p2p_connection", "RelayServer", "RelayClient", "RelayInfo"),
        *("DEFAULT_RELAYS", "ConnectionState", "RelaySession", "find_best_relay"),
        *("start_relay_server", "STUN_SERVERS"),
    ),
    "atmosphere.network.stun": (
        *("STUN_SERVERS", "PublicEndpoint", "discover_public_ip", "get_local_ip"),
        *("NetworkInfo", "gather_network_info"),
    ),
    "atmosphere.network.nat": (
        *("ConnectionState", "ConnectionAttempt", "NATTraversal", "punch_hole"),
        "establish_p2p_connection",
    ),
    "atmosphere.network.relay": (
        *("RelayInfo", "DEFAULT_RELAYS", "RelaySession", "RelayServer", "RelayClient"),
        *("find_best_relay", "start_relay_server"),
    ),
}

SIGNATURES: tuple[tuple[Any, str], ...] = (
    (stun.PublicEndpoint, "ip, port, source, nat_type=None"),
    (stun.discover_public_ip, "local_port=0, timeout=3.0"),
    (stun.get_local_ip, ""),
    (stun.NetworkInfo, "local_ip, local_port, public_endpoint, is_behind_nat, nat_type"),
    (stun.gather_network_info, "local_port"),
    (
        nat.ConnectionAttempt,
        "peer_id, local_endpoint, remote_endpoint, state, started_at,"
        " established_at=None, relay_url=None",
    ),
    (nat.NATTraversal, "local_port, on_message=None"),
    (nat.NATTraversal.start, "self"),
    (nat.NATTraversal.stop, "self"),
    (nat.NATTraversal.punch_hole, "self, peer_id, remote_host, remote_port, timeout=10.0"),
    (nat.NATTraversal.mark_established, "self, peer_id"),
    (nat.NATTraversal.send_to_peer, "self, peer_id, data"),
    (nat.punch_hole, "local_port, remote_host, remote_port, timeout=10.0"),
    (nat.establish_p2p_connection, "local_port, remote_endpoint, relay_url=None, timeout=10.0"),
    (relay.RelayInfo, "url, region, latency_ms=None, capacity=None"),
    (relay.RelaySession, "session_id"),
    (relay.RelaySession.add_peer, "self, peer"),
    (relay.RelaySession.get_other_peer, "self, peer"),
    (relay.RelayServer, "host='0.0.0.0', port=8080"),
    (relay.RelayServer.start, "self"),
    (relay.RelayServer.stop, "self"),
    (relay.RelayClient, "relay_url, session_id=None"),
    (relay.RelayClient.connect, "self, timeout=10.0"),
    (relay.RelayClient.disconnect, "self"),
    (relay.RelayClient.send, "self, data"),
    (relay.RelayClient.receive, "self, timeout=None"),
    (relay.find_best_relay, "relays=None"),
    (relay.start_relay_server, "host='0.0.0.0', port=8080"),
    (join.MeshJoin, "identity"),
    (join.MeshJoin.build_join_request, "self, capabilities=None"),
    (join.MeshJoin.join_by_code, "self, code, *, timeout=None"),
    (join.MeshJoin.join_by_endpoint, "self, endpoint, mesh_id=None, *, timeout=None"),
    (join.MeshJoin.join_by_discovery, "self, mesh_id"),
    (join.MeshJoin.close, "self"),
    (join.generate_join_code, "mesh, endpoint, validity_hours=24"),
    (
        join.generate_join_code_with_discovery,
        "mesh, local_port, public_endpoint=None, relay_urls=None, validity_hours=24",
    ),
)

#: Arguments that were not there; all of them by keyword.
OURS = ("world", "on_waiting", "options")


def arguments(function: Any) -> str:
    """
    Write a signature without its types, and without what is L{OURS}; behind a star
    stands what goes by keyword only.
    """
    written: list[str] = []
    for each in signature(function).parameters.values():
        if each.name in OURS:
            continue
        if each.kind is Parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        is_needed = each.default is Parameter.empty
        written.append(each.name if is_needed else f"{each.name}={each.default!r}")
    return ", ".join(written)


class NameTests(SynchronousTestCase):
    """
    What those find who scripted the original.
    """

    def test_places(self) -> None:
        """
        Every name is where it was, and one thing wherever it is.
        """
        for place, names in PLACES.items():
            module = import_module(place)
            for name in names:
                self.assertIn(name, module.__all__, place)
                self.assertIs(
                    getattr(module, name),
                    getattr(network, name),
                    f"{place}.{name}",
                )
            self.assertEqual(dir(module), sorted(module.__all__))

    def test_mesh_places(self) -> None:
        """
        The names of the mesh are where they were too; C{mesh.network} has the network's.
        """
        joining = ("JoinCode", "MeshJoin", "generate_join_code")
        for name in (*joining, "generate_join_code_with_discovery"):
            self.assertIn(name, join.__all__)
            self.assertEqual(getattr(join, name).__name__, name)
        mesh = import_module("atmosphere.mesh")
        for name in ("Node", "NodeIdentity", "MeshIdentity"):
            self.assertIn(name, mesh.__all__)
            self.assertEqual(getattr(mesh, name).__name__, name)
        names = import_module("atmosphere.mesh.network")
        for name in PLACES["atmosphere.network"]:
            self.assertIs(getattr(names, name), getattr(network, name), name)

    def test_arguments(self) -> None:
        """
        Everything takes the arguments that it took.
        """
        for function, wanted in SIGNATURES:
            self.assertEqual(arguments(function), wanted, function)

    def test_servers(self) -> None:
        """
        The public STUN servers are those that were.
        """
        self.assertEqual(
            stun.STUN_SERVERS,
            [
                ("stun.l.google.com", 19302),
                ("stun1.l.google.com", 19302),
                ("stun2.l.google.com", 19302),
                ("stun.cloudflare.com", 3478),
                ("stun.stunprotocol.org", 3478),
            ],
        )
