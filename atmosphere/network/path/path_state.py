# -*- test-case-name: tests.network.path.test_paths -*-
"""
What is known of the ways of one link, and the questions that can be asked of it.
What follows from what happens is decided in L{atmosphere.network.path.paths}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules, share_public_address

from .check_budget import CheckBudget
from .checker import Checker
from .decisions import Decisions
from .exchange import PathOffer
from .explain import LinkStory, tell_ways
from .known_way import KnownWay
from .prediction import Prediction
from .reports import PathEvent, WayReport, report_ways
from .selection import PathPolicy, is_allowed
from .way_table import WayTable
from .ways import Way

__all__ = ["PathState"]


class PathState:
    """
    The ways of one link, and how it stands.

    @ivar is_dialler: whether we opened the link.
    @ivar remote_offer: the newest offer of the peer.
    @ivar active: the way that data leaves by; before the welcome, the first one
        that something was heard by.
    @ivar decisions: the last ones, oldest first.
    @ivar is_silent: no way answers at present.
    @ivar events: what C{next_event} is still to hand out.
    @ivar prediction: guesses ports, where that is allowed.
    """

    def __init__(
        self,
        *,
        is_dialler: bool,
        entropy: Callable[[int], bytes],
        now: float,
        budget: CheckBudget,
        rules: AddressRules | None = None,
        policy: PathPolicy = PathPolicy.AUTO,
    ) -> None:
        """
        @param budget: how many checks all links of the process may send.
        @param rules: what is known of ourselves, to judge the peer's addresses.
        """
        self.is_dialler = is_dialler
        self._entropy = entropy
        self.prediction: Prediction | None = None
        self.remote_offer: PathOffer | None = None
        self.active: Way | None = None
        self.decisions = Decisions()
        self.is_silent = False
        self._ways = WayTable(AddressRules() if rules is None else rules)
        self._checker = Checker(
            self._ways, is_dialler=is_dialler, entropy=entropy, budget=budget, policy=policy
        )
        self._offered: PathOffer | None = None
        self._heard_by: Way | None = None
        self._usual: tuple[Way, KnownWay] | None = None
        self._routes: tuple[Way, ...] = ()
        self._has_been_direct = False
        self._is_welcomed = False
        self._last_proof = self._silent_since = self._last_call = now
        self._quiet_at: float | None = None
        self._observed: dict[bool, TransportAddress] = {}
        self.events: deque[PathEvent] = deque()

    @property
    def local_ufrag(self) -> str:
        """
        The fragment that the USERNAME of checks to this link begins with.
        """
        return self._checker.conversation.local.ufrag

    @property
    def active_kind(self) -> str | None:
        """
        C{direct}, C{punched} or C{relayed}; C{None} while there is no active way.
        """
        known = self._ways.get(self.active)
        return None if known is None else known.kind

    def is_waiting_for(self, transaction_id: bytes) -> bool:
        """
        Say whether a STUN response with that transaction ID belongs to this link.
        """
        return self._checker.conversation.is_waiting_for(transaction_id)

    def snapshot(self) -> list[WayReport]:
        """
        Say how each way stands, the active one first, then by rank.
        """
        return report_ways(self._ways, self.active)

    def allows(self, way: Way) -> bool:
        """
        Say whether the policy lets a link begin by this way.
        """
        return is_allowed(way, self._checker.policy)

    @property
    def is_near(self) -> bool:
        """
        Whether both sides were seen at the same public address.
        """
        ours = () if self._offered is None else self._offered.candidates
        theirs = () if self.remote_offer is None else self.remote_offer.candidates
        return share_public_address(ours, theirs)

    def story(self, now: float) -> LinkStory:
        """
        Say which ways there are, what came of each, and why.
        """
        ways = tell_ways(
            self._ways,
            self._ways.refused,
            self.decisions,
            active=self.active,
            policy=self._checker.policy,
            has_been_direct=self._has_been_direct,
            is_open=self._checker.is_open,
            now=now,
        )
        policy = self._checker.policy
        guessing = None if self.prediction is None else self.prediction.story(now)
        told = tuple(self.decisions)
        return LinkStory(ways, policy, told, self.is_silent, self.is_near, guessing)
