"""
Tests for L{atmosphere.network.stun.probe}: what is sent when, and what counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.stun.attributes import (
    CHANGE_REQUEST,
    ERROR_CODE,
    OTHER_ADDRESS,
    PADDING,
    XOR_MAPPED_ADDRESS,
    Attribute,
)
from atmosphere.network.stun.behavior import DialBack, Finding
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message
from atmosphere.network.stun.probe import DialBackProbe, MappingProbe, Probe, other_socket
from atmosphere.network.stun.values import ErrorCode
from atmosphere.testing import seeded_entropy

SERVER = TransportAddress("203.0.113.1", 3478)
OTHER_PORT = TransportAddress("203.0.113.1", 3479)
ACROSS = TransportAddress("203.0.113.2", 3479)
MAPPED = TransportAddress("198.51.100.1", 40000)

Reply = Callable[[Message, TransportAddress], "tuple[bytes, TransportAddress] | None"]


def success(request: Message, **attributes: Any) -> bytes:
    """
    Write a success response.
    """
    table: dict[str, Attribute[Any]] = {"mapped": XOR_MAPPED_ADDRESS, "other": OTHER_ADDRESS}
    pairs = tuple((table[name], value) for name, value in attributes.items())
    return encode_message(Message(Class.SUCCESS_RESPONSE, request.transaction_id, pairs))


def refusal(request: Message, code: int = 420) -> bytes:
    """
    Write an error response.
    """
    attributes = ((ERROR_CODE, ErrorCode(code, "no")),)
    return encode_message(Message(Class.ERROR_RESPONSE, request.transaction_id, attributes))


def ours(*, dials_back: bool = True, other: TransportAddress = OTHER_PORT) -> Reply:
    """
    Make a server like ours: it tells of its other socket when padded.
    """

    def reply(request: Message, target: TransportAddress) -> tuple[bytes, TransportAddress] | None:
        if not request.has(PADDING):
            return success(request, mapped=MAPPED), target
        change = request.get(CHANGE_REQUEST)
        if change is None:
            return success(request, mapped=MAPPED, other=other), target
        source = other if change.change_address else TransportAddress(SERVER.host, other.port)
        return (success(request, mapped=MAPPED, other=other), source) if dials_back else None

    return reply


def demanding(request: Message) -> bytes:
    """
    Write a success response that demands what nobody knows.
    """
    data = success(request)
    return data[:2] + b"\0\x04" + data[4:] + b"\x7f\0\0\0"


class ProbeCase(SynchronousTestCase):
    """
    Runs probes against scripts, in time that is only counted.
    """

    def run_probe(
        self, kind: type[Probe], reply: Reply, servers: tuple[TransportAddress, ...] = (SERVER,)
    ) -> tuple[Finding, ...]:
        """
        Run a probe to its end; answers take 50 ms.
        """
        now = 100.0
        probe = kind(servers, seeded_entropy(1), now)
        self.sent: list[tuple[float, TransportAddress, Message, int]] = []
        coming: list[tuple[float, bytes, TransportAddress]] = []
        while True:
            for data, target in probe.datagrams_to_send(now):
                request = decode_message(data)
                self.sent.append((round(now - 100, 3), target, request, len(data)))
                answer = reply(request, target)
                if answer is not None:
                    coming.append((now + 0.05, *answer))
            event = probe.next_event()
            if event is not None:
                self.seconds = round(now - 100, 3)
                self.assertIsNone(probe.get_timer())
                self.assertIsNone(probe.next_event())
                return event.findings
            timer = probe.get_timer()
            assert timer is not None
            now = min([timer, *(each[0] for each in coming)])
            for each in [each for each in coming if each[0] <= now]:
                coming.remove(each)
                probe.receive_datagram(each[1], each[2], now)
            probe.handle_timer(now)

    def times(self, *, changed: bool) -> list[float]:
        """
        Say when requests went out, with CHANGE-REQUEST or without.
        """
        return [at for at, _, request, _ in self.sent if request.has(CHANGE_REQUEST) is changed]


class DialBackProbeTests(ProbeCase):
    """
    Answers from a socket that nothing was sent to.
    """

    def test_arrived(self) -> None:
        """
        The answer comes from the other port; all is over after two round trips, and
        nothing was sent to that port.
        """
        (found,) = self.run_probe(DialBackProbe, ours())
        self.assertEqual(found.from_port, DialBack.ARRIVED)
        self.assertEqual((found.mapped, found.other), (MAPPED, OTHER_PORT))
        self.assertAlmostEqual(found.rtt or 0, 0.05)
        self.assertEqual({target for _, target, _, _ in self.sent}, {SERVER})
        self.assertAlmostEqual(self.seconds, 0.1, 1)

    def test_sizes(self) -> None:
        """
        Plain requests have 20 bytes, all others are padded to 128.
        """
        self.run_probe(DialBackProbe, ours())
        for _, _, request, size in self.sent:
            self.assertEqual(size, 128 if request.has(PADDING) else 20)

    def test_silent(self) -> None:
        """
        Silence counts once four requests went unanswered, while plain ones were not.
        """
        (found,) = self.run_probe(DialBackProbe, ours(dials_back=False))
        self.assertEqual(found.from_port, DialBack.SILENT)
        self.assertEqual(self.times(changed=True), [0.05, 0.25, 0.65, 1.45])
        self.assertEqual(self.times(changed=False), [0.0, 0.0, 0.05, 0.25, 0.65, 1.45])
        self.assertEqual(self.seconds, 2.25)

    def test_lost(self) -> None:
        """
        Silence counts for nothing while plain requests are lost as well.
        """
        server = ours(dials_back=False)
        asked = 0

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            nonlocal asked
            asked += not request.has(PADDING)
            return server(request, target) if request.has(PADDING) or asked < 4 else None

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual(found.from_port, DialBack.UNKNOWN)

    def test_refused(self) -> None:
        """
        A server that will not dial back has proven nothing.
        """

        def reply(request: Message, target: TransportAddress) -> tuple[bytes, TransportAddress]:
            if request.has(CHANGE_REQUEST):
                return refusal(request), target
            return success(request, mapped=MAPPED, other=OTHER_PORT), target

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual(found.from_port, DialBack.NOT_OFFERED)

    def test_ignored(self) -> None:
        """
        Nor has one that answers from the socket that was asked.
        """

        def reply(request: Message, target: TransportAddress) -> tuple[bytes, TransportAddress]:
            return success(request, mapped=MAPPED, other=OTHER_PORT), target

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual(found.from_port, DialBack.NOT_OFFERED)

    def test_other_address(self) -> None:
        """
        With a second address both are asked for, and each answer counts for where it
        came from.
        """
        (found,) = self.run_probe(DialBackProbe, ours(other=ACROSS))
        self.assertEqual(
            (found.from_port, found.from_address), (DialBack.ARRIVED, DialBack.ARRIVED)
        )

    def test_other_route(self) -> None:
        """
        A server that answers from an address that nobody asked has shown even more.
        """
        server = ours()

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            answer = server(request, target)
            return (answer[0], ACROSS) if answer and request.has(CHANGE_REQUEST) else answer

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual(
            (found.from_port, found.from_address), (DialBack.NOT_OFFERED, DialBack.ARRIVED)
        )

    def test_foreign_server(self) -> None:
        """
        A server that tells of its other socket unasked is not padded at.
        """

        def reply(request: Message, target: TransportAddress) -> tuple[bytes, TransportAddress]:
            if request.has(PADDING):
                return refusal(request), target
            source = OTHER_PORT if request.has(CHANGE_REQUEST) else target
            return success(request, mapped=MAPPED, other=OTHER_PORT), source

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual(found.from_port, DialBack.ARRIVED)
        self.assertEqual(sum(request.has(PADDING) for _, _, request, _ in self.sent), 1)

    def test_plain_server(self) -> None:
        """
        A server that says nothing to padding is waited for no longer than 0.7 s.
        """

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            return None if request.has(PADDING) else (success(request, mapped=MAPPED), target)

        (found,) = self.run_probe(DialBackProbe, reply)
        self.assertEqual((found.mapped, found.other), (MAPPED, None))
        self.assertEqual(self.seconds, 0.75)

    def test_no_answer(self) -> None:
        """
        A server that never answers is given up after 2.1 s.
        """
        (found,) = self.run_probe(DialBackProbe, lambda request, target: None)
        self.assertEqual((found.mapped, found.error), (None, "no response"))
        self.assertEqual(self.times(changed=False), [0.0, 0.0, 0.3, 0.3, 0.9, 0.9])
        self.assertEqual(self.seconds, 2.1)

    def test_useless_answers(self) -> None:
        """
        Why an answer is of no use is told.
        """
        cases: tuple[tuple[Callable[[Message], bytes], str], ...] = (
            (lambda request: refusal(request, 500), "refuses: 500 'no'"),
            (success, "does not say where it sees us"),
            (demanding, "demands what we do not know"),
        )
        for answer, words in cases:

            def reply(
                request: Message,
                target: TransportAddress,
                answer: Callable[[Message], bytes] = answer,
            ) -> tuple[bytes, TransportAddress]:
                return answer(request), target

            (found,) = self.run_probe(DialBackProbe, reply)
            self.assertEqual(found.error, words)

    def test_same_host(self) -> None:
        """
        Of servers with one address one is asked: another could be the socket that
        nothing is to be sent to.
        """
        found = self.run_probe(DialBackProbe, ours(), (SERVER, OTHER_PORT, ACROSS))
        self.assertEqual([each.server for each in found], [SERVER, ACROSS])
        self.assertNotIn(OTHER_PORT, {target for _, target, _, _ in self.sent})

    def test_sent_to_before(self) -> None:
        """
        What comes from a socket that was sent to proves nothing.
        """

        def reply(request: Message, target: TransportAddress) -> tuple[bytes, TransportAddress]:
            source = ACROSS if request.has(CHANGE_REQUEST) else target
            return success(request, mapped=MAPPED, other=OTHER_PORT), source

        first, _ = self.run_probe(DialBackProbe, reply, (SERVER, ACROSS))
        self.assertEqual(first.from_address, DialBack.NOT_OFFERED)

    def test_two_servers(self) -> None:
        """
        Servers are judged apart; nothing more is sent to one that is done with.
        """
        server = ours()

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            if target == ACROSS and request.has(CHANGE_REQUEST):
                return None
            return server(request, target)

        first, second = self.run_probe(DialBackProbe, reply, (SERVER, ACROSS))
        self.assertEqual((first.from_port, second.from_port), (DialBack.ARRIVED, DialBack.SILENT))
        self.assertEqual(max(at for at, target, _, _ in self.sent if target == SERVER), 0.05)

    def test_owns(self) -> None:
        """
        A probe knows its answers, so that it can share a port.
        """
        probe = DialBackProbe((SERVER,), seeded_entropy(1), 0.0)
        (data, _), *_ = probe.datagrams_to_send(0.0)
        self.assertTrue(probe.owns(data[8:20]))
        self.assertFalse(probe.owns(bytes(12)))

    def test_no_servers(self) -> None:
        """
        Without servers it is over before it began.
        """
        self.assertEqual(self.run_probe(DialBackProbe, ours(), ()), ())


class MappingProbeTests(ProbeCase):
    """
    Where other sockets see us.
    """

    def test_other_port(self) -> None:
        """
        The other port is asked plainly.
        """
        (found,) = self.run_probe(MappingProbe, ours())
        self.assertEqual(found.seen, ((OTHER_PORT, MAPPED),))
        _, target, _, size = self.sent[-1]
        self.assertEqual((target, size), (OTHER_PORT, 20))

    def test_four_sockets(self) -> None:
        """
        With a second address there are three others.
        """
        (found,) = self.run_probe(MappingProbe, ours(other=ACROSS))
        self.assertEqual(len(found.seen), 3)

    def test_silent(self) -> None:
        """
        A socket that does not answer is left out.
        """
        server = ours()

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            return server(request, target) if target == SERVER else None

        (found,) = self.run_probe(MappingProbe, reply)
        self.assertEqual(found.seen, ())
        self.assertEqual(found.mapped, MAPPED)


class OtherSocketTests(SynchronousTestCase):
    """
    What OTHER-ADDRESS is taken for.
    """

    def test_rules(self) -> None:
        """
        What a server cannot know, and what it must not have us do, is left aside.
        """
        for announced, expected in (
            ("203.0.113.1:3479", OTHER_PORT),
            ("0.0.0.0:3479", OTHER_PORT),
            ("10.0.0.1:3479", OTHER_PORT),
            ("127.0.0.1:3479", OTHER_PORT),
            ("[2001:db8::1]:3479", OTHER_PORT),
            ("203.0.113.2:3479", ACROSS),
            ("203.0.113.1:3478", None),
            ("0.0.0.0:3478", None),
            ("203.0.113.2:53", None),
            ("0.0.0.0:0", None),
        ):
            found = other_socket(SERVER, TransportAddress.from_text(announced))
            self.assertEqual(found, expected, announced)


class HostileTests(ProbeCase):
    """
    Servers that mean no good.
    """

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=60), max_size=20), st.booleans())
    def test_rubbish(self, answers: list[bytes], is_mapping: bool) -> None:
        """
        Whatever servers answer, with the right transaction ID at that, a probe ends in time.
        """
        left = list(answers)

        def reply(
            request: Message, target: TransportAddress
        ) -> tuple[bytes, TransportAddress] | None:
            if not left:
                return None
            body = left.pop()
            body += bytes(-len(body) % 4)
            head = b"\x01\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42"
            return head + request.transaction_id + body, target

        self.run_probe(MappingProbe if is_mapping else DialBackProbe, reply)
        self.assertLessEqual(self.seconds, 5.0)
        self.assertLess(len(self.sent), 20)
