"""
Tests for L{atmosphere.network.relay.switchboard}: one connection for each node.
"""

from atmosphere.network.relay.frames import Absent, Notice, NoticeCode, Ping, Pong, Refused
from atmosphere.network.relay.line import Line, LineState

from .switchboard_case import SwitchboardCase, make_key

ANNA, BERT = make_key(1), make_key(2)


class IdentityTests(SwitchboardCase):
    """
    One connection for each node, and no fight over it.
    """

    def test_the_newest_wins(self) -> None:
        """
        A node that connects again takes over; the older connection is told and closed.
        """
        self.start()
        older, _ = self.login(ANNA, instance=b"a" * 16)
        newer, _ = self.login(ANNA, instance=b"b" * 16)
        [refused] = self.frames(older)
        assert isinstance(refused, Refused)
        self.assertEqual(refused.code, 4)
        self.assertEqual(self.codes(), {older: 4004})
        self.switchboard.disconnect(older, self.now)
        bert, _ = self.login(BERT)
        self.send(bert, ANNA, [b"x"])
        self.assertEqual(len(self.frames(newer)), 1)
        self.assertEqual(self.counters.replaced, 1)

    def fight(self) -> tuple[Line, Line]:
        """
        Let two instances of one node take turns until both are parked.

        @return: both lines.
        """
        lines = []
        for instance in (b"a", b"b", b"a", b"b", b"a"):
            self.now += 5
            line, frames = self.login(ANNA, instance=instance * 16)
            lines.append(line)
        self.assertEqual([frame.code for frame in frames if isinstance(frame, Notice)], [2])
        [notice] = self.frames(lines[-2])
        assert isinstance(notice, Notice)
        self.assertEqual(notice.code, NoticeCode.PARKED)
        return lines[-2], lines[-1]

    def test_a_copied_key(self) -> None:
        """
        Two that take turns are both parked: connected, but neither sending nor receiving.
        """
        self.start()
        bert, _ = self.login(BERT)
        first, second = self.fight()
        self.send(bert, ANNA, [b"x"])
        self.assertEqual(self.frames(bert), [Absent(ANNA.node_id)])
        self.send(first, BERT, [b"x"])
        self.assertEqual(self.frames(bert), [])
        self.receive(second, Ping(b"12345678").encode())
        self.assertEqual(self.frames(second), [Pong(b"12345678")])

    def test_the_last_one_is_served_again(self) -> None:
        """
        When all but one have left, that one is told and served.
        """
        self.start()
        first, second = self.fight()
        self.switchboard.disconnect(first, self.now)
        [notice] = self.frames(second)
        assert isinstance(notice, Notice)
        self.assertEqual(notice.code, NoticeCode.UNPARKED)
        bert, _ = self.login(BERT)
        self.send(bert, ANNA, [b"x"])
        self.assertEqual(len(self.frames(second)), 1)

    def test_one_of_two_comes_again(self) -> None:
        """
        When one of the two connects again both stay parked; the one that is left in the
        end is served, whichever that is.
        """
        for leaves_first in (True, False):
            self.start()
            first, second = self.fight()
            again, frames = self.login(ANNA, instance=b"a" * 16)
            self.assertEqual(self.codes()[second], 4004)
            self.assertEqual([each.code for each in frames if isinstance(each, Notice)], [2])
            self.assertEqual(self.frames(first), [])
            states = (first.state, again.state)
            self.assertEqual(states, (LineState.PARKED, LineState.PARKED))
            self.switchboard.disconnect(second, self.now)
            gone, last = (first, again) if leaves_first else (again, first)
            self.switchboard.disconnect(gone, self.now)
            [notice] = self.frames(last)
            assert isinstance(notice, Notice)
            self.assertEqual(notice.code, NoticeCode.UNPARKED)
            bert, _ = self.login(BERT)
            self.send(bert, ANNA, [b"x"])
            self.assertEqual(len(self.frames(last)), 1)

    def test_more_of_them(self) -> None:
        """
        Further instances are parked too, up to four; one that comes again replaces itself.
        """
        self.start()
        self.fight()
        third, frames = self.login(ANNA, instance=b"c" * 16)
        self.assertEqual(len(frames), 1)
        again, _ = self.login(ANNA, instance=b"c" * 16)
        self.assertEqual(self.codes()[third], 4004)
        self.login(ANNA, instance=b"d" * 16)
        fifth, frames = self.login(ANNA, instance=b"e" * 16)
        self.assertEqual(self.codes()[fifth], 4007)
        self.assertIs(again.state, LineState.PARKED)
        self.assertEqual(self.switchboard.welcomed, 0)

    def test_expelled(self) -> None:
        """
        A node that may be here no longer is told so and closed, parked or not; others stay.
        """
        self.start()
        bert, _ = self.login(BERT)
        fighters = self.fight()
        self.switchboard.expel(ANNA.node_id, "revoked", self.now)
        codes = self.codes()
        self.assertEqual({codes[line] for line in fighters}, {4005})
        self.switchboard.expel(BERT.node_id, "revoked", self.now)
        self.assertEqual(self.codes()[bert], 4005)
        self.switchboard.expel(BERT.node_id, "revoked", self.now)
        self.assertEqual(self.switchboard.welcomed, 0)
