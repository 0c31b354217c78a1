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
from .datagram_size import LARGEST_SIZE, DatagramSize
from .decisions import Decisions
from .exchange import PathOffer
from .explain import LinkStory, tell_ways
from .known_way import LONGEST_PAUSE, SHORTEST_PAUSE, KnownWay, WayState
from .prediction import Prediction
from .reports import PathEvent, WayReport, report_ways
from .selection import PathPolicy, is_allowed
from .way_table import WayTable
from .ways import Way

__all__ = ["PathState"]

#: Seconds for which what another link has measured is as good as if this one had.
MEASURED_FOR = 30.0


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
        self._measured: tuple[float, dict[Way, int]] = (float("-inf"), {})
        self._sizes: tuple[DatagramSize, ...] = ()
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

    @property
    def carried(self) -> int:
        """
        The largest UDP payload that all ways carry that data leaves by, as far as is known.
        """
        return min((each.size for each in self._sizes), default=LARGEST_SIZE)

    def working_ways(self) -> list[Way]:
        """
        List the ways that succeeded.
        """
        return [known.way for known in self._ways if known.state is WayState.SUCCEEDED]

    def adopt_sizes(self, other: PathState, now: float) -> None:
        """
        Take the sizes of datagrams that another link with the same peer has measured, now
        for the way in use, and soon for one that is taken then.
        """
        measured = {known.way: known.datagram_size or 0 for known in other._ways}
        self._measured = now + MEASURED_FOR, measured
        for known in self._ways:
            if known.way == self.active:
                self._adopt_size(known, now)

    def _adopt_size(self, known: KnownWay, now: float) -> None:
        """
        Take what another link has measured of a way that is in use from now on.
        """
        until, measured = self._measured
        if known.datagrams is not None and now < until:
            known.datagrams.adopt(now, measured.pop(known.way, 0))

    def _look_for_hole(self, known: KnownWay, now: float) -> None:
        """
        Keep that datagrams of some size went by a way and go no longer.
        """
        sizes = known.datagrams
        if sizes is not None:
            sizes.expire(now, known.last_answered)
            if sizes.is_news:
                sizes.is_news = False
                text = f"a black hole: datagrams of {sizes.hole} bytes went and go no longer"
                self.decisions.note(now, known.way, text)

    def doubt_size(self, now: float) -> None:
        """
        Data is lost: see whether large datagrams still pass.
        """
        known = self._ways.get(self.active)
        if known is not None and known.datagrams is not None:
            rtt = LONGEST_PAUSE / 2 if known.rtt is None else known.rtt
            known.datagrams.doubt(now, max(SHORTEST_PAUSE, 2 * rtt))

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
