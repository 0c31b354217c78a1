"""
Tests of floods of joiners: wrong codes from many addresses, from one, and by the relay
that others join by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.identity import Secret
from atmosphere.mesh.join_code import JoinCode
from tests.node.harness import SimulatedNode, WorldCase


class FloodTests(WorldCase):
    """
    An admin with a good code outside, and strangers with bad ones.
    """

    @override
    def setUp(self) -> None:
        """
        Start the admin, and make the codes.
        """
        super().setUp()
        self.admin = self.world.node("portland", "198.51.100.1")
        self.world.advance(1)
        made = self.world.result(self.admin.service.invite(hours=1, uses=1, mesh_name="home"))
        self.good: str = made["code"]
        code = JoinCode.from_compact(self.good)
        self.wrong = replace(code, secret=Secret(bytes(16))).code
        self.failed = self.trying = 0
        self.is_over = False

    def try_wrong(self, stranger: SimulatedNode, most: int) -> None:
        """
        Let a stranger try its code again and again, as fast as it gets an answer.
        """

        def failed(failure: Failure) -> None:
            self.failed += 1
            self.trying -= 1
            if self.failed < most and not self.is_over:
                self.world.clock.callLater(0.01, self.try_wrong, stranger, most)

        self.trying += 1
        joining = stranger.service.join(self.wrong)
        joining.addErrback(failed)

    def calm(self) -> None:
        """
        Let the strangers give up.
        """
        self.is_over = True
        self.world.until(lambda: not self.trying)

    def join(self, node: SimulatedNode) -> float:
        """
        Join by the good code.

        @return: how long it took.
        """
        begun = self.world.clock.seconds()
        joined: dict[str, Any] = self.world.result(node.service.join(self.good))
        self.assertEqual(joined["mesh_name"], "home")
        return self.world.clock.seconds() - begun

    def strangers(self, count: int, **config: Any) -> None:
        """
        Let strangers try, each from an address of its own.
        """
        for number in range(count):
            name, address = f"stranger{number}", f"198.18.0.{1 + number}"
            self.try_wrong(self.world.node(name, address, **config), 1_000)

    def test_many_addresses(self) -> None:
        """
        While six strangers try without end, who has the good code joins at once.
        """
        self.strangers(6)
        self.world.advance(4)
        self.assertGreater(self.failed, 8)
        self.assertLess(self.join(self.world.node("seattle", "198.51.100.2")), 3.0)
        endpoint = self.admin.service.links.endpoint
        self.assertLessEqual(len(endpoint.links), 128)
        self.assertEqual(set(self.admin.states()), {"seattle"})
        self.calm()

    def test_one_relay(self) -> None:
        """
        Strangers that come by the relay do not keep others out that come by it too.
        """
        self.strangers(3, path_policy="relayed")
        self.world.advance(12)
        self.assertGreater(self.failed, 15)
        node = self.world.node("seattle", "198.51.100.2", path_policy="relayed")
        self.assertLess(self.join(node), 3.0)
        self.assertEqual(set(self.admin.states()), {"seattle"})
        self.calm()

    def test_one_address(self) -> None:
        """
        One address that tries without end is counted once, and soon not looked at.
        """
        stranger = self.world.node("stranger", "198.18.0.1")
        self.try_wrong(stranger, 25)
        self.world.until(lambda: self.failed >= 25, 120)
        limits = self.admin.service._admission._limits
        self.assertEqual(len(limits._sources), 1)
        [bucket] = limits._sources.values()
        self.assertLess(bucket.level(self.admin.service._admission._now()), 2)
        self.assertLess(self.join(self.world.node("seattle", "198.51.100.2")), 3.0)
        self.calm()
