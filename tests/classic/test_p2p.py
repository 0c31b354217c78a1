"""
Tests for connections that are direct if they can be, and relayed else.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from atmosphere.addresses import TransportAddress
from atmosphere.classic.nat import ConnectionState, NATTraversal, punch_hole
from atmosphere.classic.p2p import P2PResult, RelayedConnection, establish_p2p_connection
from atmosphere.classic.relay import DEFAULT_RELAYS, RelayClient, RelayInfo
from atmosphere.classic.stun import discover_public_ip
from atmosphere.classic.world import World
from atmosphere.errors import ConfigurationError, DecodeError, ListenError
from atmosphere.network.relay.rendezvous import session_of
from atmosphere.network.stun.public_endpoint import PublicEndpoint
from atmosphere.testing import SYMMETRIC

from .world_case import RELAY, WorldCase

Endpoint = PublicEndpoint | str | tuple[str, int]


class EstablishCase(WorldCase):
    """
    Two homes that connect.
    """

    def public(self, world: World) -> PublicEndpoint:
        """
        Find out what a home tells the other one.
        """
        endpoint = self.result(discover_public_ip(7777, world=world))
        assert endpoint is not None
        return endpoint

    def connect(
        self,
        one: World,
        two: World,
        relay: str | None = None,
        *,
        endpoints: tuple[Endpoint, ...] = (),
    ) -> tuple[P2PResult, P2PResult]:
        """
        Connect from both sides.
        """
        to_two, to_one = endpoints or (self.public(two), self.public(one))
        first, second = self.results(
            establish_p2p_connection(7777, to_two, relay, 3, world=one),
            establish_p2p_connection(7777, to_one, relay, 3, world=two),
        )
        for each in (first, second):
            if each.connection is not None:
                self.closers.append(each.connection.close)
        return first, second

    def talk(self, first: P2PResult, second: P2PResult) -> None:
        """
        Send both ways.
        """
        for one, two, data in ((first, second, b"hello"), (second, first, b"and back")):
            assert one.connection is not None and two.connection is not None
            self.assertTrue(one.connection.is_open)
            self.assertTrue(self.result(one.connection.send(data)))
            self.assertEqual(self.result(two.connection.receive(timeout=5)), data)


class DirectTests(EstablishCase):
    """
    Direct connections.
    """

    def test_direct(self) -> None:
        """
        Where a hole can be punched the connection is direct, and stays open.
        """
        first, second = self.connect(self.home(1), self.home(2), RELAY)
        self.assertEqual((first, second), ((True, "direct"), (True, "direct")))
        self.assertTrue(first.attempt.is_direct)
        self.assertLess(first.attempt.duration or 9, 1)
        self.assertEqual(first.attempt.remote_endpoint, ("8.8.2.1", 7777))
        self.network.advance(300)
        self.talk(first, second)

    def test_forms(self) -> None:
        """
        The peer may be given as an endpoint, a text, or a pair.
        """
        forms: list[tuple[Endpoint, Endpoint]] = [
            (("8.8.3.1", 7777), "8.8.2.1:7777"),
            ("8.8.5.1:7777", PublicEndpoint("8.8.4.1", 7777, "manual")),
        ]
        for number, endpoints in enumerate(forms):
            one, two = self.home(2 * number + 2), self.home(2 * number + 3)
            first, second = self.connect(one, two, endpoints=endpoints)
            self.assertEqual((tuple(first), second[1]), ((True, "direct"), "direct"))
            self.talk(first, second)

    def test_beside_traversal(self) -> None:
        """
        A port that this process has open already is used, and not closed.
        """
        one, two = self.home(1), self.home(2)
        traversal = NATTraversal(7777, world=one)
        self.result(traversal.start())
        first, second = self.connect(one, two)
        self.talk(first, second)
        assert first.connection is not None
        self.result(first.connection.close())
        self.assertEqual(list(one.session["ports"]), [(7777, False)])
        self.result(traversal.stop())

    def test_after_punch_hole(self) -> None:
        """
        A hole that is there already is the connection.
        """
        one, two = self.home(1), self.home(2)
        self.results(
            punch_hole(7777, "8.8.2.1", 7777, world=one),
            punch_hole(7777, "8.8.1.1", 7777, world=two),
        )
        first, second = self.connect(one, two)
        self.talk(first, second)


class RelayTests(EstablishCase):
    """
    Connections by a relay.
    """

    def test_relay(self) -> None:
        """
        Where no hole comes to be, both meet at the relay, by what each is known as.
        """
        self.serve()
        first, second = self.connect(self.home(1, SYMMETRIC), self.home(2, SYMMETRIC), RELAY)
        self.assertEqual((first, second), ((True, "relay"), (True, "relay")))
        self.assertIs(first.attempt.state, ConnectionState.RELAY)
        self.assertEqual((first.attempt.relay_url, first.attempt.is_direct), (RELAY, False))
        self.talk(first, second)
        self.assertIsInstance(first.connection, RelayedConnection)
        assert first.connection is not None and second.connection is not None
        self.result(first.connection.close())
        self.network.advance(1)
        self.assertFalse(second.connection.is_open)
        self.assertIsNone(self.result(second.connection.receive()))

    def test_one_session(self) -> None:
        """
        Of the sessions that are tried, one is left, and it has its two.
        """
        server = self.serve()
        first, second = self.connect(self.home(1, SYMMETRIC), self.home(2, SYMMETRIC), RELAY)
        self.network.advance(1)
        (session,) = server.sessions.values()
        self.assertTrue(session.is_complete)
        self.talk(first, second)

    def test_seen_by_relay(self) -> None:
        """
        Who was told what the relay's STUN server sees is found as well.
        """
        self.serve()
        one, two = self.home(1), self.home(2)
        self.network.cut(one.reactor, two.reactor, tcp=False)
        endpoints = (("8.8.2.1", 7777), ("8.8.1.1", 7777))
        first, second = self.connect(one, two, RELAY, endpoints=endpoints)
        self.assertEqual((first[1], second[1]), ("relay", "relay"))
        self.talk(first, second)

    def test_local_addresses(self) -> None:
        """
        Two on one LAN that blocks UDP between them meet by their local addresses.
        """
        self.serve()
        nat = self.network.nat("office", "8.8.9.1", SYMMETRIC)
        worlds = [
            self.world(self.network.host(f"desk{number}", f"192.168.1.{number}", on=nat.lan))
            for number in (7, 8)
        ]
        self.network.cut(worlds[0].reactor, worlds[1].reactor, tcp=False)
        first, second = self.connect(
            worlds[0], worlds[1], RELAY, endpoints=("192.168.1.8:7777", "192.168.1.7:7777")
        )
        self.assertEqual((first[1], second[1]), ("relay", "relay"))
        self.talk(first, second)

    def test_default(self) -> None:
        """
        When nobody names a relay, the one of the environment serves, or the listed one.
        """
        self.serve()
        DEFAULT_RELAYS.append(RelayInfo(RELAY, "here"))
        self.addCleanup(DEFAULT_RELAYS.clear)
        one = self.home(1, SYMMETRIC, ATMOSPHERE_RELAY_URL=RELAY)
        first, second = self.connect(one, self.home(2, SYMMETRIC))
        self.assertEqual((first[1], second[1]), ("relay", "relay"))

    def test_late(self) -> None:
        """
        The two need not begin together.
        """
        self.serve()
        one, two = self.home(1, SYMMETRIC), self.home(2, SYMMETRIC)
        to_two, to_one = self.public(two), self.public(one)
        begun = establish_p2p_connection(7777, to_two, RELAY, 4, world=one)
        self.network.advance(3)
        after = establish_p2p_connection(7777, to_one, RELAY, 4, world=two)
        first, second = self.results(begun, after)
        self.closers += [each.connection.close for each in (first, second) if each.connection]
        self.talk(first, second)


class FailureTests(EstablishCase):
    """
    No connection.
    """

    def refuse(self, establishing: Deferred[P2PResult], kind: type[Exception]) -> None:
        """
        Expect an error.
        """
        self.network.run_until(establishing)
        self.failureResultOf(establishing, kind)

    def test_none(self) -> None:
        """
        Without a relay, with one that is not there, and where nobody comes,
        there is none, and nothing stays open.
        """
        self.serve()
        for number, relay in ((1, None), (2, "ws://nowhere:8080"), (3, RELAY)):
            home = self.home(number)
            establishing = establish_p2p_connection(7777, "8.8.200.1:7777", relay, 2, world=home)
            self.assertLess(self.network.run_until(establishing), 6)
            result = self.successResultOf(establishing)
            self.assertEqual((tuple(result), result.connection), ((False, None), None))
            self.assertIs(result.attempt.state, ConnectionState.FAILED)

    def test_oneself(self) -> None:
        """
        Nobody is a peer of its own, and no session is waited in for that.
        """
        self.serve()
        home = self.home(1)
        establishing = establish_p2p_connection(7777, "192.168.1.2:7777", RELAY, 2, world=home)
        self.assertLess(self.network.run_until(establishing), 6)
        self.assertEqual(self.successResultOf(establishing), (False, None))

    def test_no_address(self) -> None:
        """
        Whose address is the only one of this machine cannot be met anywhere.
        """
        self.serve()
        home = self.home(1)
        home.addresses, home.routes = list, dict
        establishing = establish_p2p_connection(7777, "127.0.0.1:7777", RELAY, 2, world=home)
        self.assertLess(self.network.run_until(establishing), 6)
        self.assertEqual(self.successResultOf(establishing), (False, None))

    def test_stranger(self) -> None:
        """
        Somebody in the session who does not greet is no peer.
        """
        self.serve()
        session = session_of(TransportAddress("8.8.1.1", 7777), TransportAddress("8.8.200.1", 7777))
        stranger = RelayClient(RELAY, session, world=self.home(9))
        establishing = establish_p2p_connection(
            7777, "8.8.200.1:7777", RELAY, 3, world=self.home(1)
        )
        self.network.advance(3.5)
        self.assertTrue(self.result(stranger.connect()))
        self.result(stranger.send(b"GET / HTTP/1.1"))
        result: P2PResult = self.result(establishing)
        self.assertEqual(result, (False, None))
        self.result(stranger.disconnect())

    def test_misuse(self) -> None:
        """
        What is no endpoint, no relay or no free port is an error that says so.
        """
        home = self.home(1)
        for endpoint in ("8.8.2.1", "nowhere:7777", "8.8.2.1:99999", ("", 1)):
            self.refuse(establish_p2p_connection(7777, endpoint, world=home), DecodeError)
        self.refuse(
            establish_p2p_connection(7777, "8.8.2.1:7777", "nonsense", world=home),
            ConfigurationError,
        )
        traversal = NATTraversal(7777, world=home)
        self.result(traversal.start())
        other = self.world(home.reactor)
        self.refuse(establish_p2p_connection(7777, "8.8.2.1:7777", world=other), ListenError)
        self.result(traversal.stop())

    def test_cancelled(self) -> None:
        """
        Cancelling gives up, while punching and at the relay.
        """
        self.serve()
        for number, moment in ((1, 1.0), (2, 4.0)):
            establishing = establish_p2p_connection(
                7777, "8.8.200.1:7777", RELAY, 3, world=self.home(number)
            )
            self.network.advance(moment)
            establishing.cancel()
            self.network.run_until(establishing)
            self.failureResultOf(establishing, CancelledError)
