"""
Tests for L{atmosphere.network.relay.server}: a relay serves what speaks its protocol.
"""

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.relay.frames import MAX_MESSAGE, Challenge, Ping, Refused, Welcome
from atmosphere.network.relay.limits import RelayLimits
from atmosphere.network.relay.reader import decode

from .relay_case import RawClient, RelayCase, upgrade
from .switchboard_case import make_hello, make_key

FUZZ = settings(derandomize=True, max_examples=200, deadline=None)
PLAIN = {"Sec_WebSocket_Protocol": ""}


class NodeTests(RelayCase):
    """
    A node at C{/relay}.
    """

    def login(self, client: RawClient, number: int = 9) -> None:
        """
        Answer the challenge.
        """
        challenge = decode(client.messages[0])
        assert isinstance(challenge, Challenge)
        client.send(make_hello(make_key(number), challenge.nonce).encode())
        self.network.advance(0.3)

    def test_login(self) -> None:
        """
        Challenge, hello, welcome; the relay says where it sees the client.
        """
        self.serve()
        client = self.raw(upgrade())
        self.assertEqual(client.status, 101)
        self.assertNotIn(b"Server:", client.head)
        self.assertIn(b"Sec-WebSocket-Protocol: atmosphere.relay.1", client.head)
        self.login(client)
        welcome = decode(client.messages[1])
        assert isinstance(welcome, Welcome)
        self.assertEqual(welcome.observed.host, "198.51.100.1")
        self.assertEqual(welcome.stun_ports, (3478,))
        self.assertEqual((welcome.rate, welcome.is_open), (2097152, True))
        self.stop()

    def test_everything_in_one_segment(self) -> None:
        """
        A client that does not wait for the answer to its request loses nothing.
        """
        self.serve()
        client = self.raw(upgrade() + b"\x82\x80abcd")
        refused = decode(client.messages[1])
        assert isinstance(refused, Refused)
        self.assertEqual((refused.code, client.close_code), (1, 4001))
        self.stop()

    def test_refused_node(self) -> None:
        """
        A node that is not admitted hears why, and is never registered.
        """
        server = self.serve()
        self.refused.add(make_key(9).node_id)
        client = self.raw(upgrade())
        self.login(client)
        refused = decode(client.messages[1])
        assert isinstance(refused, Refused)
        self.assertEqual((refused.code, refused.text), (5, "no member"))
        self.assertEqual(client.close_code, 4005)
        self.assertEqual(server.switchboard.welcomed, 0)
        self.network.advance(6)
        self.assertIsNotNone(client.lost)
        self.stop()

    def test_silent_client(self) -> None:
        """
        A client that does not log in is gone after five seconds.
        """
        self.serve()
        client = self.raw(upgrade())
        self.network.advance(4)
        self.assertIsNone(client.close_code)
        self.network.advance(1.5)
        self.assertEqual(client.close_code, 4006)
        self.network.advance(6)
        self.assertIsNotNone(client.lost)
        self.stop()

    def test_violations(self) -> None:
        """
        What is not WebSocket, or not our frames, ends the connection with a code.
        """
        server = self.serve()
        for data, code in [
            (b"\x82\x02xx", 1002),
            (b"\x83\x80abcd", 1002),
            (b"\xc2\x80abcd", 1002),
            (b"\x89\xfe\x00\x7eabcd", 1002),
            (b"\x81\x81\x00\x00\x00\x00x", 1003),
            (b"\x81\x81\x00\x00\x00\x00\xff", 1007),
            (b"\x82\xfe\xff\xffabcd", 1009),
            (b"\x82\xff\x7f" + b"\xff" * 7 + b"abcd", 1009),
        ]:
            client = self.raw(upgrade())
            client.write(data)
            self.network.advance(0.5)
            self.assertEqual(client.close_code, code, data)
            self.network.advance(1)
            self.assertIsNotNone(client.lost)
        self.assertEqual(server.counters.protocol_errors, 8)
        self.assertEqual(server.gate.total, 0)
        self.stop()

    def test_full_size(self) -> None:
        """
        After the welcome a message may have 65,600 bytes, and not one more.
        """
        self.serve()
        client = self.raw(upgrade())
        self.login(client)
        size = MAX_MESSAGE - 35
        client.send(b"\x10" + make_key(8).node_id.raw + b"\xff\xff" + bytes(size))
        self.network.advance(1)
        self.assertEqual(client.messages[2][:1], b"\x12")
        client.send(bytes(MAX_MESSAGE + 1))
        self.network.advance(1)
        self.assertEqual(client.close_code, 1009)
        self.stop()

    def test_websocket_ping(self) -> None:
        """
        WebSocket's own ping is answered, between fragments too; closing is answered.
        """
        self.serve()
        client = self.raw(upgrade())
        self.login(client)
        ping = Ping(b"12345678").encode()
        client.write(b"\x02\x81\0\0\0\0" + ping[:1] + b"\x89\x82\0\0\0\0hi")
        client.write(b"\x80\x88\0\0\0\0" + ping[1:])
        self.network.advance(0.3)
        self.assertIn((10, b"\x8a\x02hi"), client.items)
        self.assertEqual(client.messages[-1], b"\x3112345678")
        client.write(b"\x88\x82\0\0\0\0\x03\xe8")
        self.network.advance(1)
        self.assertEqual(client.close_code, 1000)
        self.assertIsNotNone(client.lost)
        self.stop()

    def test_half_open(self) -> None:
        """
        A node whose machine vanished is gone within 45 seconds.
        """
        server = self.serve()
        client = self.raw(upgrade())
        self.login(client)
        self.assertEqual(server.switchboard.welcomed, 1)
        self.host("stranger").kill(is_silent=True)
        self.network.advance(45.1)
        self.assertEqual(server.switchboard.welcomed, 0)
        self.network.advance(10)
        self.assertEqual(server.gate.total, 0)
        self.stop()

    def test_slow_reader(self) -> None:
        """
        A node that does not read makes the relay hold 256 KiB at most, and is cut after 10 s.
        """
        server = self.serve(rate=1e9)
        client = self.raw(upgrade())
        self.login(client)
        client.transport.pauseProducing()
        sender = self.node(1)
        self.welcomed(sender)
        for _ in range(40):
            sender.client.send(make_key(9).node_id, [bytes(1200)] * 50)
            self.network.advance(0.05)
        [line] = [line for line in server._nodes if line.node == make_key(9).node_id]
        self.assertLessEqual(line.queued, 256 * 1024)
        self.assertGreater(server.counters.messages_dropped, 0)
        self.network.advance(10)
        self.assertEqual(server.switchboard.welcomed, 1)
        self.assertEqual(server.counters.stalled, 1)
        self.assertTrue(sender.client.is_welcomed)
        self.stop()

    def test_rate(self) -> None:
        """
        A node that sends too fast is read no faster, and loses nothing for it.
        """
        server = self.serve(limits=RelayLimits(rate=100_000, burst=100_000))
        sender, receiver = self.node(1), self.node(2)
        self.welcomed(sender, receiver)
        for _ in range(10):
            sender.client.send(receiver.node_id, [bytes(1000)] * 40)
            self.network.advance(0.02)
        self.network.advance(0.5)
        early = len(receiver.received)
        self.assertGreater(server.counters.rate_limited, 0)
        self.network.advance(6)
        self.assertLess(early, 10)
        self.assertEqual(len(receiver.received), 10)
        self.stop()


class PairTests(RelayCase):
    """
    Two clients at C{/relay/SESSION}.
    """

    def leg(self, session_id: str = "s", host: str = "stranger") -> RawClient:
        """
        Connect to a session.
        """
        return self.raw(upgrade(f"/relay/{session_id}", **PLAIN), host=host)

    def test_text_and_binary(self) -> None:
        """
        Messages pass as they are, the early ones too.
        """
        server = self.serve()
        first = self.leg()
        first.send(b"early")
        first.send("héllo".encode(), is_binary=False)
        self.network.advance(0.3)
        second = self.leg()
        second.send(b"back" * 10_000)
        self.network.advance(1)
        self.assertEqual(second.items, [(2, b"early"), (1, "héllo".encode())])
        self.assertEqual(first.messages, [b"back" * 10_000])
        self.assertEqual(server.statistics()["total_bytes_relayed"], 40_011)
        second.send(b"back" * 20_000)
        self.network.advance(1)
        self.assertEqual(second.close_code, 1009)
        self.assertEqual(first.close_code, 1000)
        self.assertEqual(server.sessions.active, 0)
        self.stop()

    def test_third(self) -> None:
        """
        A third client gets 409, and the pair goes on.
        """
        self.serve()
        first, second = self.leg(), self.leg()
        third = self.leg()
        self.assertEqual(third.status, 409)
        first.send(b"still here")
        self.network.advance(0.3)
        self.assertEqual(second.messages, [b"still here"])
        self.stop()

    def test_leaving(self) -> None:
        """
        When one leaves, the other gets what was on its way and is closed.
        """
        server = self.serve()
        first, second = self.leg(), self.leg()
        first.send(b"last words" * 1000)
        first.transport.loseConnection()
        self.network.advance(1)
        self.assertEqual(second.messages, [b"last words" * 1000])
        self.assertEqual(second.close_code, 1000)
        self.network.advance(5.1)
        self.assertIsNotNone(second.lost)
        self.assertEqual((server.active, server.gate.total), (0, 0))
        self.stop()

    def test_nobody_comes(self) -> None:
        """
        After 30 s without a partner a leg is closed.
        """
        server = self.serve()
        first = self.leg()
        self.network.advance(29)
        self.assertIsNone(first.close_code)
        self.network.advance(2)
        self.assertEqual(first.close_code, 4020)
        self.network.advance(6)
        self.assertEqual(server.gate.unpaired, 0)
        self.stop()

    def test_dead_leg(self) -> None:
        """
        A leg that does not answer pings is closed, and so is its partner.
        """
        self.serve()
        self.leg(host="dead")
        second = self.leg()
        self.host("dead").kill(is_silent=True)
        self.network.advance(46)
        self.assertEqual(second.close_code, 1000)
        self.stop()

    def test_back_pressure(self) -> None:
        """
        Nothing is lost when a partner reads slowly, and little is held.
        """
        server = self.serve(rate=1e9)
        first, second = self.leg(host="fast"), self.leg(host="slow")
        second.transport.pauseProducing()
        for number in range(100):
            first.send(bytes([number]) * 20_000)
        self.network.advance(5)
        [connection] = [each for each in server._legs.values() if each._holds]
        self.assertEqual(connection._holds, ("partner",))
        second.transport.resumeProducing()
        self.network.advance(5)
        self.assertEqual(second.messages, [bytes([number]) * 20_000 for number in range(100)])
        self.stop()

    def test_stalled(self) -> None:
        """
        A leg that reads nothing for 10 s is cut, its partner closed.
        """
        server = self.serve(rate=1e9)
        first, second = self.leg(host="fast"), self.leg(host="slow")
        second.transport.pauseProducing()
        for _ in range(100):
            first.send(bytes(20_000))
        self.network.advance(12)
        self.assertEqual(first.close_code, 1000)
        self.network.advance(6)
        self.assertEqual((server.counters.stalled, server.gate.total), (1, 0))
        self.stop()

    def test_kept_is_bounded(self) -> None:
        """
        Before the partner is there, a leg is read up to 64 KiB and no further.
        """
        server = self.serve(rate=1e9)
        first = self.leg()
        for number in range(100):
            first.send(bytes([number]) * 10_000)
        self.network.advance(3)
        [leg] = server._legs
        self.assertLess(leg.kept_size, 64 * 1024 + 3 * 65_536)
        second = self.leg(host="other")
        self.network.advance(5)
        self.assertEqual(len(second.messages), 100)
        self.stop()

    def test_rate(self) -> None:
        """
        An anonymous leg is read no faster than the relay's limit for strangers.
        """
        self.serve(limits=RelayLimits(rate=50_000, burst=50_000))
        first, second = self.leg(), self.leg(host="other")
        for _ in range(10):
            first.send(bytes(25_000))
        self.network.advance(1)
        early = len(second.messages)
        self.network.advance(8)
        self.assertLess(early, 10)
        self.assertEqual(len(second.messages), 10)
        self.stop()

    def test_who_may(self) -> None:
        """
        Too many without a partner, strangers at a mesh's relay, and odd names are refused.
        """
        self.serve(limits=RelayLimits(unpaired_per_address=1))
        self.assertEqual(self.leg("a").status, 101)
        self.assertEqual(self.leg("b").status, 429)
        self.assertEqual(self.leg("c" * 65).status, 404)
        self.service.server.drain(5)
        self.assertEqual(self.leg("d", host="other").status, 503)
        self.stop()

    def test_a_relay_for_meshes(self) -> None:
        """
        A relay that serves meshes only has no sessions for strangers.
        """
        self.serve(meshes=("mesh-a",), is_open=False)
        self.assertEqual(self.leg().status, 403)
        self.stop()

    def test_a_leg_that_does_not_hang_up(self) -> None:
        """
        A client that says goodbye and keeps its connection open is cut.
        """
        server = self.serve()
        first = self.leg()
        first.transport.pauseProducing()
        first.write(b"\x88\x80\0\0\0\0")
        self.network.advance(6)
        self.assertEqual(server.gate.total, 0)
        self.stop()


class FuzzTests(SynchronousTestCase):
    """
    Whatever a stranger sends, the relay goes on.
    """

    def survive(self, request: bytes, *more: bytes) -> None:
        """
        Expect that a relay still serves after these bytes, and that nothing stays behind.
        """
        case = RelayCase("serve")
        case.setUp()
        server = case.serve()
        client = case.raw(request)
        for data in more:
            if client.lost is None:
                client.write(data)
                case.network.advance(0.1)
        self.assertEqual(case.get("/health").status, 200)
        case.host("stranger").kill(is_silent=True)
        case.network.advance(200)
        self.assertEqual((server.gate.total, server.gate.unsettled), (0, 0))
        case.stop()

    @FUZZ
    @given(st.binary(max_size=200))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes at all.
        """
        self.survive(data)

    @FUZZ
    @given(st.data(), st.sampled_from(["/relay", "/relay/abc"]))
    def test_mutated_handshakes(self, data: st.DataObject, path: str) -> None:
        """
        A handshake of which some bytes were changed.
        """
        request = bytearray(upgrade(path, Sec_WebSocket_Extensions="a; b=c, d", Origin=""))
        for _ in range(data.draw(st.integers(1, 5))):
            at = data.draw(st.integers(0, len(request) - 1))
            request[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        self.survive(bytes(request))

    @FUZZ
    @given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(["/relay", "/relay/a"]))
    def test_any_frames(self, pieces: list[bytes], path: str) -> None:
        """
        A good handshake and any bytes after it.
        """
        self.survive(upgrade(path), *pieces)

    @FUZZ
    @given(st.lists(st.tuples(st.sampled_from(range(11)), st.binary(max_size=60)), max_size=4))
    def test_any_messages(self, messages: list[tuple[int, bytes]]) -> None:
        """
        A good handshake and well-framed messages and control frames with anything in them.
        """
        frames = [
            bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload
            for opcode, payload in messages
        ]
        self.survive(upgrade(), *frames)
