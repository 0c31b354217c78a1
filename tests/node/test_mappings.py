"""
Tests for L{atmosphere.node.mappings}.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.node.mappings import REFRESH_EVERY, MappingKeeper
from atmosphere.node.surroundings import Surroundings


class Place:
    """
    Surroundings that count.

    @ivar asked: what each question waits for.
    """

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []

    async def keep_mappings(self) -> None:
        """
        Wait for the test.
        """
        asked: Deferred[None] = Deferred()
        self.asked.append(asked)
        await asked


class MappingKeeperTests(SynchronousTestCase):
    """
    When a mapping is kept.
    """

    @override
    def setUp(self) -> None:
        self.clock = Clock()
        self.place = Place()
        self.is_wanted = True
        self.kept: list[Any] = []
        self.keeper = MappingKeeper(
            self.clock,
            cast(Surroundings, self.place),
            lambda: self.is_wanted,
            lambda: self.kept.append(None),
        )
        self.keeper.start()

    def test_wanted(self) -> None:
        """
        It is asked every 20 seconds while it is wanted, one question at a time.
        """
        self.clock.pump([REFRESH_EVERY] * 3)
        self.assertEqual((len(self.place.asked), len(self.kept)), (1, 0))
        self.place.asked[0].callback(None)
        self.assertEqual(len(self.kept), 1)
        self.clock.advance(REFRESH_EVERY)
        self.place.asked[1].callback(None)
        self.is_wanted = False
        self.clock.pump([REFRESH_EVERY] * 3)
        self.assertEqual((len(self.place.asked), len(self.kept)), (2, 2))
        self.keeper.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """
        What is under way when it stops is given up; a failure is logged and the next
        question asked.
        """
        self.clock.advance(REFRESH_EVERY)
        self.place.asked[0].errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(REFRESH_EVERY)
        self.keeper.stop()
        self.assertTrue(self.place.asked[1].called)
        self.assertEqual((self.kept, self.clock.getDelayedCalls()), ([], []))
