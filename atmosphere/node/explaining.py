# -*- test-case-name: tests.node.test_explaining -*-
"""
Why a peer is reached as it is, or not at all: what its link, the record that it
published and the history of dialling it say, put together for people and programs.

The words are those of L{atmosphere.network.path.explain} and
L{atmosphere.network.path.remedies}.
"""

from __future__ import annotations

from collections.abc import Sequence

from atmosphere.addresses import TransportAddress
from atmosphere.mesh.roster import Member
from atmosphere.network.nat.candidates import CandidateType
from atmosphere.network.path.decisions import DIALLED, Decision
from atmosphere.network.path.explain import Verdict, WayStory, rule_words
from atmosphere.network.path.remedies import Side, remedies, summary
from atmosphere.network.path.selection import PathPolicy, Rule
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way, way_text
from atmosphere.network.quic.connection import Link

from .api import JSON
from .links import ABSENT, NodeLinks
from .pinging import path_of
from .surroundings import Surroundings

__all__ = ["explain"]

#: Seconds for which a relay's word that it does not have a peer is believed.
ABSENT_FOR = 120.0

#: Decisions that are told, the last ones.
MAX_TOLD = 64


def explain(
    member: Member,
    state: str,
    links: NodeLinks,
    surroundings: Surroundings,
    *,
    now: float,
    wall: float,
) -> JSON:
    """
    Say how a member is reached and why, and what would help.

    @param state: how it stands, see L{atmosphere.node.standing}.
    @param now: engine time.
    @param wall: POSIX time.
    """
    link = links.link_to(member.node)
    history = links.history.of(member.node)
    here, there = _here(surroundings), _there(member, link, history, now)
    story = None if link is None else link.core.paths.story(now)
    ways = story.ways if story is not None else _planned(member, links, surroundings, history, now)
    decisions = [*history, *(() if story is None else story.decisions)]
    active = None if story is None else story.active
    is_answering = link is not None and not link.is_silent
    seen = _age(member.seen or None, wall)
    heard = [each.heard for each in ways if each.heard is not None]
    return {
        "peer": member.name,
        "node_id": str(member.node),
        "state": state,
        "path": path_of(link) if link is not None and is_answering else None,
        "policy": (links.policy if story is None else story.policy).value,
        "summary": summary(story, here, there),
        "rule": _rule(active.rule) if active and active.rule and is_answering else None,
        "ways": [_way(each, now) for each in ways],
        "decisions": [
            _decision(each, now) for each in sorted(decisions, key=lambda each: each.at)[-MAX_TOLD:]
        ],
        "here": _side(here),
        "there": {
            **_side(there),
            "record_age_s": _age(None if member.record is None else member.record.time, wall),
            "seen_s": _age(max(heard), now) if heard else seen,
        },
        "help": remedies(story, here, there),
    }


def _here(surroundings: Surroundings) -> Side:
    """
    Say what we know of ourselves.
    """
    clients = surroundings.relays.clients
    return Side(
        None,
        tuple(each.address for each in surroundings.candidates()),
        surroundings.ports.port_of(is_ipv6=False) or surroundings.ports.port_of(is_ipv6=True),
        surroundings.is_udp_working,
        surroundings.has_stable_port,
        tuple(surroundings.relays.welcomed),
        tuple(
            (url, client.error or "no answer yet")
            for url, client in clients.items()
            if not client.is_welcomed
        ),
        barred=surroundings.rules().barred,
    )


def _there(member: Member, link: Link | None, history: Sequence[Decision], now: float) -> Side:
    """
    Say what a peer told us of itself, on its link or in its record.
    """
    record = member.record
    offer = None if link is None else link.core.paths.remote_offer
    addresses: tuple[TransportAddress, ...] = ()
    own: tuple[TransportAddress, ...] = ()
    if offer is not None:
        addresses = tuple(each.address for each in offer.candidates)
        own = tuple(e.address for e in offer.candidates if e.type is CandidateType.HOST)
    elif record is not None:
        addresses = own = record.endpoints
    relays = offer.relays if offer is not None else () if record is None else record.relays
    return Side(
        member.name,
        addresses,
        own[0].port if own else None,
        None,
        None if offer is None else offer.has_stable_port,
        relays,
        (),
        _absent_at(history, now) if link is None or link.is_silent else (),
    )


def _absent_at(history: Sequence[Decision], now: float) -> tuple[str, ...]:
    """
    List the relays that said of late that a peer is not connected to them.
    """
    linked = max((each.at for each in history if each.text.startswith("linked")), default=0.0)
    return tuple(
        each.way.relay
        for each in history
        if each.text == ABSENT
        and isinstance(each.way, RelayedWay)
        and each.at > max(linked, now - ABSENT_FOR)
    )


def _planned(
    member: Member,
    links: NodeLinks,
    surroundings: Surroundings,
    history: Sequence[Decision],
    now: float,
) -> tuple[WayStory, ...]:
    """
    Say which ways may lead to a peer that there is no link to, and what became of them.
    """
    record = member.record
    urls = [*surroundings.trusted_relays, *(() if record is None else record.relays)]
    absent = _absent_at(history, now)
    failed = next((e.text for e in reversed(history) if e.text.startswith("not reached")), None)
    dialled = next((e.text for e in reversed(history) if e.text.startswith(DIALLED)), "")
    found = []
    for url in dict.fromkeys(urls):
        way = surroundings.relays.way(url, member.node)
        if url in absent:
            found.append(_story(way, Verdict.FAILED, f"{ABSENT}: it is not connected there"))
        else:
            barred = _relay_bar(surroundings, url, links.policy)
            found.append(_dialled(way, barred, dialled, failed))
    for address in () if record is None else record.endpoints:
        direct = DirectWay(address)
        barred = _address_bar(surroundings, address, links.policy)
        found.append(_dialled(direct, barred, dialled, failed))
    order = tuple(Verdict)
    return tuple(sorted(found, key=lambda each: order.index(each.verdict)))


def _story(way: Way, verdict: Verdict, fact: str) -> WayStory:
    """
    Tell of a way that no link has.
    """
    kind = None if isinstance(way, DirectWay) else "relayed"
    return WayStory(way, kind, None, verdict, fact)


def _dialled(way: Way, barred: str | None, dialled: str, failed: str | None) -> WayStory:
    """
    Tell what became of dialling by a way.

    @param barred: why it is not used, if it is not.
    @param dialled: the note of the last dial.
    @param failed: that of the last dial that failed.
    """
    if barred is not None:
        return _story(way, Verdict.NOT_TRIED, barred)
    if way_text(way) not in dialled.removeprefix(DIALLED).split(", "):
        return _story(way, Verdict.NOT_TRIED, "not dialled yet")
    if failed is None:
        return _story(way, Verdict.TRYING, "dialled, no answer yet")
    return _story(way, Verdict.FAILED, f"dialled, {failed}")


def _relay_bar(surroundings: Surroundings, url: str, policy: PathPolicy) -> str | None:
    """
    Say why a relay cannot be used.
    """
    client = surroundings.relays.clients.get(url)
    if policy is PathPolicy.DIRECT:
        return "path policy says direct"
    if client is None:
        return "this node does not use that relay"
    if not client.is_welcomed:
        return f"this node is not connected to it: {client.error or 'no answer yet'}"
    return None


def _address_bar(
    surroundings: Surroundings, address: TransportAddress, policy: PathPolicy
) -> str | None:
    """
    Say why an address is not dialled.
    """
    if policy is PathPolicy.RELAYED:
        return "path policy says relayed"
    return surroundings.rules().refusal(address, is_near=surroundings.is_near(address))


def _age(then: float | None, now: float) -> float | None:
    """
    Say how many seconds ago something was.
    """
    return None if then is None else round(max(0.0, now - then), 3)


def _ms(seconds: float | None) -> float | None:
    """
    Bring seconds to milliseconds.
    """
    return None if seconds is None else round(seconds * 1000, 3)


def _rule(rule: Rule) -> JSON:
    """
    Describe a rule.
    """
    return {"number": rule.value, "text": rule_words(rule)}


def _way(story: WayStory, now: float) -> JSON:
    """
    Describe a way.
    """
    way = story.way
    return {
        "way": way.relay if isinstance(way, RelayedWay) else str(way.address),
        "from_port": way.socket if isinstance(way, DirectWay) else None,
        "kind": story.kind,
        "origin": story.origin,
        "verdict": story.verdict.value,
        "fact": story.fact,
        "rule": None if story.rule is None else _rule(story.rule),
        "rtt_ms": _ms(story.rtt),
        "jitter_ms": _ms(story.jitter),
        "loss": None if story.loss is None else round(story.loss, 4),
        "datagram_bytes": story.datagram_size,
        "age_s": _age(story.at, now),
    }


def _decision(decision: Decision, now: float) -> JSON:
    """
    Describe a decision.
    """
    return {
        "age_s": _age(decision.at, now),
        "way": None if decision.way is None else way_text(decision.way),
        "text": decision.text,
        "rule": None if decision.rule is None else _rule(decision.rule),
        "times": decision.times,
    }


def _side(side: Side) -> JSON:
    """
    Describe what is known of one end.
    """
    return {
        "addresses": [str(each) for each in side.addresses],
        "udp_port": side.port,
        "udp": side.is_udp_working,
        "stable_port": side.has_stable_port,
        "relays": list(side.relays),
    }
