"""
Tests for L{atmosphere.network.relay.switchboard}: nodes reach each other, and nobody else.
"""

from atmosphere.identity import NodeKey
from atmosphere.network.relay.batches import encode_batches
from atmosphere.network.relay.frames import (
    Absent,
    Deliver,
    Drain,
    FrameType,
    Notice,
    NoticeCode,
    Ping,
    Pong,
    Refused,
)
from atmosphere.network.relay.limits import RelayLimits
from atmosphere.network.relay.line import Admission, LineState, Resumed, Throttled

from .switchboard_case import WALL, SwitchboardCase, make_hello, make_key

ANNA, BERT, CARL = make_key(1), make_key(2), make_key(3)


class ForwardingTests(SwitchboardCase):
    """
    Datagrams come to the node that they are for.
    """

    def test_from_one_to_the_other(self) -> None:
        """
        A send becomes a deliver that names its source.
        """
        self.start()
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        self.switchboard.ready_lines()
        self.send(anna, BERT, [b"one", b"two", b"3"])
        self.assertEqual(self.switchboard.ready_lines(), [bert])
        self.assertEqual(self.switchboard.ready_lines(), [])
        self.assertEqual(self.frames(bert), [Deliver(ANNA.node_id, 3, b"onetwo3")])
        self.assertEqual(self.counters.messages_relayed, 1)
        self.assertEqual(self.switchboard.welcomed, 2)

    def test_in_place(self) -> None:
        """
        A message that may be changed is forwarded without a copy.
        """
        self.start()
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        [frame] = encode_batches(FrameType.SEND, BERT.node_id.raw, [b"datagram"])
        message = bytearray(frame)
        self.receive(anna, message)
        [taken] = bert.take(1000)
        self.assertIs(taken, message)
        self.assertEqual(taken[:33], b"\x11" + ANNA.node_id.raw)

    def test_absent(self) -> None:
        """
        Who sends to a node that is not there is told so, once a second for each.
        """
        self.start()
        anna, _ = self.login(ANNA)
        for _ in range(3):
            self.send(anna, BERT, [b"x"])
        self.send(anna, CARL, [b"x"])
        self.assertEqual(self.frames(anna), [Absent(BERT.node_id), Absent(CARL.node_id)])
        self.now += 1
        self.send(anna, BERT, [b"x"])
        self.assertEqual(self.frames(anna), [Absent(BERT.node_id)])
        self.assertEqual(self.counters.absent, 5)

    def test_what_is_remembered_of_the_absent_is_bounded(self) -> None:
        """
        A node that sends to thousands that are not there fills nothing.
        """
        self.start()
        anna, _ = self.login(ANNA)
        for number in range(1000):
            self.receive(anna, b"\x10" + b"\x05" * 30 + number.to_bytes(2, "big") + b"\x00\x01x")
        assert anna.absent_told is not None
        self.assertLessEqual(len(anna.absent_told), 256)

    def test_ping(self) -> None:
        """
        A ping is answered with the same 8 bytes; a pong is welcome.
        """
        self.start()
        anna, _ = self.login(ANNA)
        self.receive(anna, Ping(b"12345678").encode())
        self.receive(anna, Pong(b"87654321").encode())
        self.assertEqual(self.frames(anna), [Pong(b"12345678")])
        self.assertEqual(self.codes(), {})

    def test_a_node_that_left(self) -> None:
        """
        A node whose connection ended is absent, and leaving twice does no harm.
        """
        self.start()
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        self.switchboard.disconnect(bert, self.now)
        self.switchboard.disconnect(bert, self.now)
        self.send(anna, BERT, [b"x"])
        self.assertEqual(self.frames(anna), [Absent(BERT.node_id)])
        self.send(bert, ANNA, [b"x"])
        self.assertEqual(self.frames(anna), [])

    def test_a_slow_receiver(self) -> None:
        """
        For a node that does not read, 256 KiB are kept; it is told of when it reads again.
        """
        self.start()
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        self.switchboard.ready_lines()
        self.switchboard.pause(bert, self.now)
        self.switchboard.pause(bert, self.now)
        for number in range(400):
            self.send(anna, BERT, [bytes([number % 256]) * 1000])
        self.assertEqual(self.switchboard.ready_lines(), [])
        self.assertLessEqual(bert.queued, 256 * 1024)
        self.assertGreater(bert.queued, 128 * 1024)
        self.assertEqual(self.counters.messages_dropped, 400 - len(bert._outbox))
        self.switchboard.resume(bert)
        self.assertEqual(self.switchboard.ready_lines(), [bert])
        last = self.frames(bert)[-1]
        self.assertEqual(last, Deliver(ANNA.node_id, 1000, bytes([399 % 256]) * 1000))


class LoginTests(SwitchboardCase):
    """
    Nobody is served who has not proved who they are.
    """

    def expect_refusal(self, code: int, message: bytes | None = None) -> None:
        """
        Expect that a first frame ends the connection and registers nobody.
        """
        line, nonce = self.challenge()
        self.receive(line, make_hello(ANNA, nonce).encode() if message is None else message)
        [refused] = self.frames(line)
        assert isinstance(refused, Refused)
        self.assertEqual(refused.code, code)
        self.assertEqual(self.codes()[line], 4000 + code)
        self.assertIs(line.state, LineState.CLOSED)
        self.assertEqual(self.switchboard.welcomed, 0)
        self.send(line, BERT, [b"x"])
        self.assertEqual(self.frames(line), [])

    def test_frames_before_hello(self) -> None:
        """
        Anything but a hello ends the connection.
        """
        self.start()
        [send] = encode_batches(FrameType.SEND, BERT.node_id.raw, [b"x"])
        for message in (send, Ping(b"12345678").encode(), b"", b"\x02junk", b"\x7f"):
            self.expect_refusal(1, message)
        self.assertEqual(self.counters.protocol_errors, 5)

    def test_hello_too_long(self) -> None:
        """
        Before the welcome a frame has at most 8 KiB.
        """
        self.start()
        self.expect_refusal(1, b"\x02" + bytes(8192))

    def test_another_challenge(self) -> None:
        """
        A signature for another connection's challenge is worth nothing.
        """
        self.start()
        self.expect_refusal(3, make_hello(ANNA, b"n" * 32).encode())

    def test_authority(self) -> None:
        """
        A relay that knows its names refuses logins for others; one that does not takes all.
        """
        self.start(names=("relay.example",))
        line, nonce = self.challenge()
        hello = make_hello(ANNA, nonce, authority="evil.example:443")
        self.receive(line, hello.encode())
        self.assertEqual(self.codes(), {line: 4002})
        line, nonce = self.challenge()
        self.receive(line, make_hello(ANNA, nonce, authority="relay.example").encode())
        self.assertEqual(self.codes()[line], 4001)
        line, nonce = self.challenge()
        self.receive(line, make_hello(ANNA, nonce, authority="relay.example:443").encode())
        self.assertEqual(self.switchboard.welcomed, 1)

    def test_not_admitted(self) -> None:
        """
        A node that is no member is refused, with the reason.
        """
        self.start()
        del self.admissions[""]
        self.expect_refusal(5)

    def test_too_late(self) -> None:
        """
        A client that says nothing is refused after five seconds.
        """
        self.start()
        line, _ = self.challenge()
        self.wait(4.9)
        self.assertEqual(self.codes(), {})
        self.wait(0.2)
        self.assertEqual(self.codes(), {line: 4006})
        self.assertEqual(self.counters.timed_out, 1)

    def test_draining(self) -> None:
        """
        A relay that goes down tells those who are there and lets nobody in.
        """
        self.start()
        anna, _ = self.login(ANNA)
        waiting, nonce = self.challenge()
        self.switchboard.drain(5, ("wss://other",))
        self.assertEqual(self.frames(anna), [Drain(5, ("wss://other",))])
        self.receive(waiting, make_hello(BERT, nonce).encode())
        self.assertEqual(self.codes(), {waiting: 4007})
        self.switchboard.shut_down(self.now)
        self.assertEqual(self.codes(), {waiting: 4007, anna: 4012})


class AfterLoginTests(SwitchboardCase):
    """
    Who is welcome stays so by keeping to the protocol.
    """

    def test_bad_frames(self) -> None:
        """
        Frames that clients do not send end the connection.
        """
        self.start()
        for message in (
            b"",
            b"\x7f",
            b"\x02",
            b"\x10short",
            b"\x11" + BERT.node_id.raw + b"\x00\x01x",
            b"\x30short",
        ):
            anna, _ = self.login(ANNA)
            self.receive(anna, message)
            self.assertEqual(self.codes()[anna], 4001, message)
        self.assertEqual(self.switchboard.welcomed, 0)

    def test_silence(self) -> None:
        """
        A node that sends nothing for 45 s is gone; one that pings is not.
        """
        self.start()
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        for _ in range(3):
            self.wait(15)
            self.receive(bert, Ping(b"12345678").encode())
        self.wait(0.1)
        self.assertEqual(self.codes(), {anna: 4010})
        self.assertLessEqual(len(self.switchboard._deadlines), 4)

    def test_deadlines_of_those_who_left(self) -> None:
        """
        Nothing happens at the time of a line that has ended.
        """
        self.start()
        anna, _ = self.login(ANNA)
        self.now += 1
        bert, _ = self.login(BERT)
        self.now += 1
        carl, _ = self.login(CARL)
        self.switchboard.disconnect(bert, self.now)
        self.now += 60
        self.switchboard.handle_timer(self.now)
        self.assertEqual(self.codes(), {anna: 4010, carl: 4010})
        self.switchboard.disconnect(anna, self.now)
        self.switchboard.disconnect(carl, self.now)
        self.assertIsNone(self.switchboard.get_timer())

    def test_stalled(self) -> None:
        """
        A node to which nothing could be written for 10 s is cut.
        """
        self.start()
        anna, _ = self.login(ANNA)
        self.switchboard.pause(anna, self.now)
        self.wait(9)
        self.switchboard.resume(anna)
        self.switchboard.pause(anna, self.now)
        self.wait(9.9)
        self.assertEqual(self.codes(), {})
        self.wait(0.2)
        self.assertEqual(self.codes(), {anna: 4011})
        self.assertEqual(self.counters.stalled, 1)

    def test_expiry(self) -> None:
        """
        An admission ends when it says so.
        """
        self.start()
        self.admissions["mesh-a"] = Admission(
            is_proven=True, mesh_id="mesh-a", expires=WALL + self.now + 20
        )
        anna, _ = self.login(ANNA, mesh_id="mesh-a")
        self.wait(19)
        self.assertEqual(self.codes(), {})
        self.wait(2)
        self.assertEqual(self.codes(), {anna: 4013})

    def test_rate(self) -> None:
        """
        Who sends faster than allowed is told, and read no further until it is paid.
        """
        self.start(limits=RelayLimits(rate=1000, burst=2000))
        anna, _ = self.login(ANNA)
        bert, _ = self.login(BERT)
        self.run_events()
        self.send(anna, BERT, [bytes(3000)])
        self.send(anna, BERT, [bytes(1000)])
        self.assertEqual(self.run_events(), [Throttled(anna)])
        self.assertEqual(len(self.frames(bert)), 2)
        [notice] = self.frames(anna)
        assert isinstance(notice, Notice)
        self.assertEqual(notice.code, NoticeCode.RATE)
        self.wait(1.5)
        self.assertEqual(self.run_events(), [])
        self.wait(1)
        self.assertEqual(self.run_events(), [Resumed(anna)])
        self.send(anna, BERT, [bytes(3000)])
        self.assertEqual(self.run_events(), [Throttled(anna)])
        self.assertEqual(self.frames(anna), [])
        self.assertEqual(self.counters.rate_limited, 2)

    def test_deadlines_do_not_pile_up(self) -> None:
        """
        A node that is slowed down for hours leaves nothing behind.
        """
        self.start(limits=RelayLimits(rate=1000, burst=1000))
        anna, _ = self.login(ANNA)
        for _ in range(200):
            self.receive(anna, Ping(b"12345678").encode())
            self.send(anna, BERT, [bytes(1500)])
            self.wait(3)
        self.assertLessEqual(len(self.switchboard._deadlines), 4)

    def test_rates_by_admission(self) -> None:
        """
        Members have no limit, strangers the default, everyone what the relay sets.
        """
        member = Admission(is_proven=True, mesh_id="mesh-a")
        for config, expected in (
            ({}, (2097152.0, 0.0)),
            ({"rate": 5000.0}, (5000.0, 5000.0)),
            ({"host": "127.0.0.1"}, (0.0, 0.0)),
            ({"limits": RelayLimits(rate=0)}, (0.0, 0.0)),
        ):
            self.start(**config)
            self.admissions["mesh-a"] = member
            rates = []
            for key, mesh_id in ((ANNA, ""), (BERT, "mesh-a")):
                line, _ = self.login(key, mesh_id=mesh_id)
                rates.append(0.0 if line.bucket is None else line.bucket.rate)
            self.assertEqual(tuple(rates), expected)


class ReachTests(SwitchboardCase):
    """
    Who may talk to whom.
    """

    def reaches(self, first: tuple[NodeKey, str], second: tuple[NodeKey, str]) -> bool:
        """
        Say whether a datagram of the first comes to the second.
        """
        sender, _ = self.login(first[0], mesh_id=first[1])
        receiver, _ = self.login(second[0], mesh_id=second[1])
        self.send(sender, second[0], [b"x"])
        found = self.frames(receiver)
        self.assertEqual(self.frames(sender), [] if found else [Absent(second[0].node_id)])
        return bool(found)

    def admit_all(self) -> None:
        """
        Know two meshes and a joiner of the first.
        """
        for mesh_id in ("mesh-a", "mesh-b"):
            self.admissions[mesh_id] = Admission(is_proven=True, mesh_id=mesh_id)
        self.admissions["join-a"] = Admission(mesh_id="mesh-a", only_to=frozenset({BERT.node_id}))

    def test_meshes_are_apart(self) -> None:
        """
        On a relay that serves meshes only, members of two of them are absent for each other.
        """
        self.start(meshes=("mesh-a", "mesh-b"))
        self.admit_all()
        self.assertTrue(self.reaches((ANNA, "mesh-a"), (BERT, "mesh-a")))
        self.assertFalse(self.reaches((ANNA, "mesh-a"), (BERT, "mesh-b")))

    def test_an_open_relay_keeps_nobody_apart(self) -> None:
        """
        Where anyone is served, anyone can be reached.
        """
        self.start(meshes=("mesh-a",), is_open=True)
        self.admit_all()
        self.assertTrue(self.reaches((ANNA, "mesh-a"), (BERT, "")))

    def test_a_joiner_reaches_its_issuer_only(self) -> None:
        """
        A ticket opens the way to its issuer and back, and to nobody else.
        """
        self.start(meshes=("mesh-a",), is_open=True)
        self.admit_all()
        self.assertTrue(self.reaches((ANNA, "join-a"), (BERT, "mesh-a")))
        self.assertTrue(self.reaches((BERT, "mesh-a"), (ANNA, "join-a")))
        self.assertFalse(self.reaches((ANNA, "join-a"), (CARL, "mesh-a")))
        self.assertFalse(self.reaches((CARL, "mesh-a"), (ANNA, "join-a")))
