"""
Tests for L{atmosphere.node.answering} and L{atmosphere.node.knocking}: joining through
two NATs without any relay.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import CancelledError

from atmosphere.errors import NoPathError
from atmosphere.node.config import parse_host_port
from atmosphere.testing.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatBehaviour,
    Ports,
)

from .answer_case import STUN, AnswerCase


class JoinTests(AnswerCase):
    """
    Pairs of homes.
    """

    def meet(self, one: NatBehaviour | None, two: NatBehaviour | None) -> float:
        """
        Have seattle join, by an answer that is carried after half a minute.

        @return: how long it took from then on.
        """
        self.homes(one, two)
        joining = self.join(self.invite())
        self.world.advance(30)
        begun = self.world.clock.seconds()
        following = self.follow()
        joined = self.world.result(joining)
        took = self.world.clock.seconds() - begun
        followed = self.world.result(following)
        self.assertEqual((joined["name"], followed["name"]), ("seattle", "seattle"))
        self.assertNotEqual(followed["path"]["kind"], "relayed")
        for here, there in ((self.portland, self.seattle), (self.seattle, self.portland)):
            self.assertTrue(here.is_linked(there))
            self.assertNotEqual(here.path_to(there), "relayed")
        return took

    def test_port_restricted(self) -> None:
        """
        Two homes whose NATs let only answers in are joined directly, within a second.
        """
        self.assertLess(self.meet(PORT_RESTRICTED, PORT_RESTRICTED), 1.0)
        self.world.advance(600)
        self.assertTrue(self.seattle.is_linked(self.portland))

    def test_other_pairs(self) -> None:
        """
        So are others: who is easier to reach, and a NAT that takes another port for each
        peer where the other one looks at addresses alone.
        """
        for one, two, limit in (
            (PORT_RESTRICTED, FULL_CONE, 1.0),
            (FULL_CONE, PORT_RESTRICTED, 1.0),
            (SYMMETRIC, ADDRESS_RESTRICTED, 1.0),
            (ADDRESS_RESTRICTED, SYMMETRIC, 8.0),
            (PORT_RESTRICTED, None, 1.0),
        ):
            self.setUp()
            if one is FULL_CONE:
                self.homes(one, two)
                self.assertEqual(self.world.result(self.join(self.invite()))["name"], "seattle")
                self.assertEqual(self.answers(), [])
            else:
                self.assertLess(self.meet(one, two), limit, (one, two))

    def test_unknown_inviter(self) -> None:
        """
        An inviter that does not know its own public address finds a joiner that has one.
        """
        self.portland = self.node("portland", 1, PORT_RESTRICTED, stun_servers=())
        self.seattle = self.node("seattle", 2, None)
        self.world.advance(5)
        joining = self.join(self.invite())
        following = self.follow()
        self.assertEqual(self.world.result(joining)["name"], "seattle")
        self.world.result(following)
        self.assertTrue(self.seattle.is_linked(self.portland))
        self.world.advance(3)
        self.assertIn("names no public address", self.followed[1]["warning"])

    def test_both_hard(self) -> None:
        """
        Two NATs that take another port for each peer are named, and what helps; the
        joiner tries on.
        """
        self.homes(SYMMETRIC, SYMMETRIC)
        joining = self.join(self.invite())
        self.assertIs(self.lines[0]["stable_port"], False)
        error = self.assertRaises(NoPathError, self.world.result, self.follow(), 90)
        for words in ("within 60 s", "both NATs take another port", "--advertise", "a relay"):
            self.assertIn(words, str(error))
        self.assertFalse(joining.called)

    def test_one_hard(self) -> None:
        """
        One such NAT is too much where the other lets in only the ports that it knows, and
        it is said whose it is.
        """
        for one, two, words in (
            (SYMMETRIC, PORT_RESTRICTED, "this side's NAT takes another port"),
            (PORT_RESTRICTED, SYMMETRIC, "the joiner's NAT takes another port"),
        ):
            self.setUp()
            self.homes(one, two)
            self.join(self.invite())
            error = self.assertRaises(NoPathError, self.world.result, self.follow(), 90)
            self.assertIn(words, str(error))
            self.assertNotIn("warning", [key for line in self.followed for key in line])

    def test_relay_is_down(self) -> None:
        """
        When the relay that the code names does not answer, there is an answer as well;
        when it is back it is used, whoever is first.
        """
        self.world.start_relay()
        servers = tuple(map(parse_host_port, STUN))
        self.portland, self.seattle = (
            self.world.node(
                name, f"198.51.100.{number}", behind=PORT_RESTRICTED, stun_servers=servers
            )
            for number, name in enumerate(("portland", "seattle"), 1)
        )
        self.world.advance(5)
        made = self.world.result(self.portland.service.invite(hours=1, uses=2, mesh_name=None))
        self.assertFalse(made["needs_answer"])
        self.world.relay_host.kill()
        joining = self.join(made["code"])
        self.world.result(self.follow())
        self.assertEqual(self.world.result(joining)["name"], "seattle")
        self.assertEqual(self.seattle.path_to(self.portland), "punched")


class WaitingTests(AnswerCase):
    """
    What happens until an answer is carried, and after that.
    """

    def test_mappings_kept(self) -> None:
        """
        NATs that forget within half a minute are kept from it on both sides, as long as a
        code is open and an answer waits, and no longer.
        """
        forgetful = replace(PORT_RESTRICTED, lifetime=30.0, ports=Ports.RANDOM)
        self.homes(forgetful, forgetful)
        code = self.invite(hours=2)
        self.world.advance(1800)
        joining = self.join(code)
        self.world.advance(1800)
        self.assertEqual(len(self.answers()), 1)
        self.follow()
        self.assertEqual(self.world.result(joining)["name"], "seattle")
        for each in (self.portland, self.seattle):
            self.world.result(each.service.leave())
        trace = self.world.network.record()
        self.world.advance(200)
        self.assertEqual([each for each in trace if each.destination[1] == 3478], [])

    def test_moved(self) -> None:
        """
        A joiner that is seen at another address makes another answer; an issuer says that
        its code is of no use any more.
        """
        self.homes()
        code = self.invite()
        self.join(code)
        assert self.seattle.nat is not None and self.portland.nat is not None
        self.seattle.nat.reboot("198.51.100.9")
        self.world.until(lambda: len(self.answers()) == 2, 60)
        self.assertTrue(self.lines[-1].get("has_changed") or self.lines[-2].get("has_changed"))
        self.portland.nat.reboot("198.51.100.8")
        error = self.assertRaises(NoPathError, self.world.result, self.follow(timeout=20.0))
        self.assertIn(
            "says 198.51.100.1:7777, but others see this node at 198.51.100.8:7777", str(error)
        )

    def test_restarted(self) -> None:
        """
        Neither node has to run all the while: the code and the answer outlive it.
        """
        self.homes()
        code = self.invite()
        self.portland.kill()
        self.portland.restart()
        self.join(code)
        self.portland.kill()
        self.portland.restart()
        self.seattle.kill()
        self.seattle.restart()
        self.world.advance(3)
        joining = self.join(code)
        following = self.follow(self.answers()[0])
        self.assertEqual(self.world.result(joining)["name"], "seattle")
        self.assertEqual(self.world.result(following)["path"]["kind"], "punched")

    def test_afterwards(self) -> None:
        """
        The two find each other again: after a restart, and after all was cut for so long
        that both NATs have forgotten.
        """
        self.homes()
        joining = self.join(self.invite())
        self.world.result(self.follow())
        self.world.result(joining)
        self.world.advance(30)
        self.seattle.kill()
        self.seattle.restart()
        self.world.until(lambda: self.seattle.is_linked(self.portland), 60)
        assert self.seattle.nat is not None
        self.seattle.nat.is_unplugged = True
        self.world.advance(900)
        self.assertFalse(self.portland.is_linked(self.seattle))
        told = self.portland.service.why("seattle")
        self.assertIn("neither this node nor seattle has a relay", " ".join(told["help"]))
        self.seattle.nat.is_unplugged = False
        self.world.until(lambda: self.seattle.is_linked(self.portland), 180)
        self.assertEqual(self.seattle.path_to(self.portland), "punched")

    def test_nobody_carries(self) -> None:
        """
        A joiner waits as long as it was told to, or its answer is good, says what to do, and
        leaves the machine as it was.
        """
        self.homes()
        code = self.invite(hours=24)
        joining = self.join(code, timeout=20.0)
        error = self.assertRaises(NoPathError, self.world.result, joining)
        self.assertIn("was it handed to `atmosphere join --answer -`", str(error))
        joining = self.join(code)
        begun = self.world.clock.seconds()
        self.assertRaises(NoPathError, self.world.result, joining, 4000)
        self.assertTrue(3570 < self.world.clock.seconds() - begun < 3610)
        self.assertIsNone(self.seattle.service.surroundings.ports.knocked)
        joining = self.join(code)
        joining.cancel()
        self.assertIsInstance(self.failureResultOf(joining).value, CancelledError)
        self.assertIsNone(self.seattle.service.surroundings.ports.knocked)

    def test_nobody_to_carry(self) -> None:
        """
        Who joins without anybody to carry an answer is told after half a minute that the
        issuer was not reached, as ever.
        """
        self.homes()
        begun = self.world.clock.seconds()
        joining = self.join(self.invite(), answers=False)
        error = self.assertRaises(NoPathError, self.world.result, joining)
        self.assertIn("is it running", str(error))
        self.assertLess(self.world.clock.seconds() - begun, 50)
        self.assertEqual(self.lines, [])

    def test_no_public_address(self) -> None:
        """
        Who does not know its own address can make no answer, and is told what helps.
        """
        self.portland = self.node("portland", 1, PORT_RESTRICTED)
        self.seattle = self.node("seattle", 2, PORT_RESTRICTED, stun_servers=(), public_stun=False)
        self.world.advance(5)
        error = self.assertRaises(NoPathError, self.world.result, self.join(self.invite()))
        self.assertIn("--stun HOST:PORT", str(error))
        self.assertEqual(self.lines, [])
