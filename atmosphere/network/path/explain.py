# -*- test-case-name: tests.network.path.test_explain -*-
"""
How a link came to be the way it is, in words: each way that was tried, the measured
fact that ruled it in or out, and the rule that chose the winner.

What would help is in L{atmosphere.network.path.remedies}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from atmosphere.network.nat.candidates import CandidateType

from .decisions import Decision, Decisions
from .known_way import MAX_FIRST_CHECKS, KnownWay, WayState
from .selection import PathPolicy, Rule, is_allowed
from .ways import DirectWay, Way

__all__ = [
    "ADVERTISED",
    "DOUBTFUL_AFTER",
    "LinkStory",
    "Verdict",
    "WayStory",
    "rule_words",
    "state_words",
    "tell_ways",
]


class Verdict(Enum):
    """
    What came of a way, in a few words.
    """

    IN_USE = "in use"
    USED_ON = "failed, used on"
    READY = "works, not in use"
    TRYING = "being tried"
    FAILED = "failed"
    LOST = "cannot be used"
    NOT_TRIED = "not tried"


_ORDER = tuple(Verdict)

#: With so many checks without an answer, two seconds and more after the first, why there is
#: none is said, though more are sent.
DOUBTFUL_AFTER = 4

#: How an address was come by that somebody gave to C{--advertise}.
ADVERTISED = "advertised by its user"


@dataclass(frozen=True, slots=True)
class WayStory:
    """
    One way, and what is known of it.

    @ivar kind: C{direct}, C{punched} or C{relayed}; C{None} if it was never tried.
    @ivar origin: how its address was come by, in words.
    @ivar verdict: what came of it.
    @ivar fact: the measured fact behind that.
    @ivar rule: the rule by which it carries data, or does not though it could.
    @ivar rtt: its round trip in seconds.
    @ivar jitter: by how much that varies, in seconds.
    @ivar loss: which share of its checks is lost.
    @ivar datagram_size: the largest UDP payload that went both ways, if it is direct.
    @ivar at: engine time of the newest decision about it.
    @ivar heard: engine time of the last authentic datagram by it.
    @ivar has_answered: it ever answered a check, or carried the handshake.
    @ivar is_too_small: it answers, and does not carry data of full size.
    @ivar is_refused: the address filter does not let us send there.
    @ivar is_doubtful: it has been tried for so long that an answer is not to be expected.
    """

    way: Way
    kind: str | None
    origin: str | None
    verdict: Verdict
    fact: str
    rule: Rule | None = None
    rtt: float | None = None
    jitter: float | None = None
    loss: float | None = None
    at: float | None = None
    heard: float | None = None
    has_answered: bool = False
    is_too_small: bool = False
    is_refused: bool = False
    is_doubtful: bool = False
    datagram_size: int | None = None

    @property
    def is_active(self) -> bool:
        """
        Whether data leaves by it.
        """
        return self.verdict in (Verdict.IN_USE, Verdict.USED_ON)

    @property
    def is_direct(self) -> bool:
        """
        Whether no relay is needed for it.
        """
        return isinstance(self.way, DirectWay)


@dataclass(frozen=True, slots=True)
class LinkStory:
    """
    All ways of a link.

    @ivar ways: the one in use first, then those that work, down to those not tried.
    @ivar policy: what the user wants of it.
    @ivar decisions: the last ones, oldest first.
    @ivar is_silent: no way answers at present.
    @ivar is_near: both sides were seen at the same public address.
    @ivar guessing: what became of guessing ports; C{None} where that is no matter.
    """

    ways: tuple[WayStory, ...]
    policy: PathPolicy
    decisions: tuple[Decision, ...] = ()
    is_silent: bool = False
    is_near: bool = False
    guessing: str | None = None

    @property
    def active(self) -> WayStory | None:
        """
        The way in use.
        """
        return next((each for each in self.ways if each.is_active), None)


def rule_words(rule: Rule) -> str:
    """
    Say what a rule demands.
    """
    match rule:
        case Rule.HANDSHAKE:
            return "the way by which the two first met is used until a better one works"
        case Rule.BEST:
            return "with no other in use, the best way that works is taken at once"
        case Rule.ANSWERS:
            return "a way that answers replaces one that does not"
        case Rule.DIRECT:
            return "a direct way goes before a relayed one"
        case Rule.FASTER:
            return "of two ways of one kind the faster is used, if it is clearly faster"
        case Rule.MAKE_DO:
            return "while no way answers, the last one is used on"
        case never:
            assert_never(never)


def state_words(known: KnownWay) -> str:
    """
    Say what has become of a way, and why, as a decision about it.
    """
    match known.state:
        case WayState.WAITING | WayState.IN_PROGRESS:
            return "a datagram came from there: to be checked"
        case WayState.ANSWERED:
            return known.reason
        case WayState.SUCCEEDED:
            return f"works: {known.reason}"
        case WayState.FAILED | WayState.LOST:
            return f"{known.state.value}: {known.reason}"
        case never:
            assert_never(never)


def _origin_words(known: KnownWay) -> str | None:
    """
    Say how an address was come by.
    """
    if known.is_recalled or (known.is_inherited and not known.is_told):
        return "where it was before"
    match known.origin:
        case None:
            return None
        case CandidateType.HOST:
            return "the machine's own address"
        case CandidateType.SERVER_REFLEXIVE:
            return "its public address, as servers see it"
        case CandidateType.PEER_REFLEXIVE:
            return "where its datagrams came from"
        case CandidateType.MAPPED:
            return "mapped by its router"
        case CandidateType.ADVERTISED:
            return ADVERTISED
        case CandidateType.RELAYED:
            return "a TURN server's"
        case never:
            assert_never(never)


def _number(count: int, noun: str) -> str:
    """
    Write how many there are.
    """
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _time(known: KnownWay) -> str:
    """
    Write a round trip.
    """
    return "" if known.rtt is None else f" in {known.rtt * 1000:.1f} ms"


def _judge(known: KnownWay, *, is_active: bool, is_open: bool) -> tuple[Verdict, str]:
    """
    Say what came of a way that the policy allows, and by which fact.

    @param is_open: whether checks may be sent yet.
    """
    match known.state:
        case WayState.SUCCEEDED:
            fact = f"answers{_time(known)}; {known.reason}" if known.rtt else known.reason
            if known.is_suspect:
                fact += f"; {_number(known.unanswered, 'check')} since then had no answer yet"
            verdict = Verdict.READY
        case WayState.ANSWERED:
            fact = f"answers small checks{_time(known)}, and none of full size yet"
            verdict = Verdict.TRYING
        case WayState.IN_PROGRESS:
            count = _number(known.unanswered, "check")
            fact = f"no answer to {count} of {MAX_FIRST_CHECKS} so far"
            verdict = Verdict.TRYING
        case WayState.WAITING:
            fact = "not yet checked" if is_open else "the link does not stand yet"
            verdict = Verdict.TRYING
        case WayState.FAILED:
            fact = known.reason if known.has_answered else f"never answered: {known.reason}"
            if known.unanswered:
                fact += f"; nor had {known.unanswered} more since"
            verdict = Verdict.FAILED
        case WayState.LOST:
            verdict, fact = Verdict.LOST, known.reason
        case never:
            assert_never(never)
    if is_active:
        is_over = verdict in (Verdict.FAILED, Verdict.LOST)
        verdict = Verdict.USED_ON if is_over else Verdict.IN_USE
    return verdict, fact


def _bar(known: KnownWay, active: KnownWay | None, now: float) -> tuple[str, Rule | None]:
    """
    Say what keeps a way that works from being used.
    """
    if known.measurement(now).is_held:
        return "; held back, for it failed soon after it was taken", None
    if active is None or known.state is not WayState.SUCCEEDED:
        return "", None
    if isinstance(known.way, DirectWay) == isinstance(active.way, DirectWay):
        return "", Rule.FASTER
    return "", Rule.ANSWERS if isinstance(known.way, DirectWay) else Rule.DIRECT


def tell_ways(
    ways: Iterable[KnownWay],
    refused: Mapping[Way, str],
    decisions: Decisions,
    *,
    active: Way | None,
    policy: PathPolicy,
    has_been_direct: bool,
    is_open: bool,
    now: float,
) -> tuple[WayStory, ...]:
    """
    Tell the story of each way.

    @param refused: addresses that the peer named and that must not be tried, and why.
    @param is_open: whether checks may be sent yet.
    """
    every = sorted(ways, key=lambda each: -each.priority)
    in_use = next((each for each in every if each.way == active), None)
    told = []
    for known in every:
        is_active = known is in_use
        last = decisions.last_of(known.way)
        verdict, fact = _judge(known, is_active=is_active, is_open=is_open)
        rule: Rule | None = None
        if is_active:
            rule = next(
                (d.rule for d in reversed(list(decisions)) if d.way == active and d.rule), None
            )
        elif not is_allowed(known.way, policy, has_been_direct):
            verdict, fact = Verdict.NOT_TRIED, f"path policy says {policy.value}"
        elif verdict is Verdict.READY:
            more, rule = _bar(known, in_use, now)
            fact += more
        told.append(
            WayStory(
                known.way,
                known.kind,
                _origin_words(known),
                verdict,
                fact,
                rule,
                known.rtt,
                known.quality.jitter if known.state is WayState.SUCCEEDED else None,
                known.quality.loss(now) if known.state is WayState.SUCCEEDED else None,
                None if last is None else last.at,
                known.last_heard,
                known.has_answered,
                known.is_too_small,
                is_doubtful=known.unanswered >= DOUBTFUL_AFTER,
                datagram_size=known.datagram_size,
            )
        )
    there = {each.way for each in told}
    told += [
        WayStory(way, None, None, Verdict.NOT_TRIED, refusal, is_refused=True)
        for way, refusal in refused.items()
        if way not in there
    ]
    return tuple(sorted(told, key=lambda each: _ORDER.index(each.verdict)))
