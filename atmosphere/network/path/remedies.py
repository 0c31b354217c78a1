# -*- test-case-name: tests.network.path.test_remedies -*-
"""
Why data does not go straight to a peer, in one sentence, and what would help.

Each remedy names something that a person can do, and only what is known is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from atmosphere.addresses import AddressKind, TransportAddress, address_kind

from .explain import ADVERTISED, LinkStory, Verdict, WayStory
from .selection import PathPolicy
from .ways import DirectWay

__all__ = ["Side", "remedies", "summary"]


@dataclass(frozen=True, slots=True)
class Side:
    """
    What is known of one end.

    @ivar name: what it is called; C{None} for ourselves.
    @ivar addresses: where it can be reached, as it says.
    @ivar port: its UDP port.
    @ivar is_udp_working: whether STUN servers answer it; C{None} if it asked none.
    @ivar has_stable_port: whether all who were asked see the same port of it; if
        not, its NAT's mapping is address-dependent. C{None} if that is not known.
    @ivar relays: the URLs of its relays.
    @ivar failed_relays: those of ours that have not let us in, and why.
    @ivar is_absent_at: relays that said that it is not connected to them.
    @ivar barred: by whether it is IPv6, each address family that it cannot send by, and why.
    """

    name: str | None = None
    addresses: tuple[TransportAddress, ...] = ()
    port: int | None = None
    is_udp_working: bool | None = None
    has_stable_port: bool | None = None
    relays: tuple[str, ...] = ()
    failed_relays: tuple[tuple[str, str], ...] = ()
    is_absent_at: tuple[str, ...] = ()
    barred: Mapping[bool, str] = field(default_factory=dict, hash=False)

    @property
    def has_public_address(self) -> bool:
        """
        Whether one of its addresses is good in the whole Internet.
        """
        return any(address_kind(each.packed) is AddressKind.GLOBAL for each in self.addresses)

    @property
    def has_ipv6(self) -> bool:
        """
        Whether one of these is an IPv6 address.
        """
        return any(
            each.is_ipv6 and address_kind(each.packed) is AddressKind.GLOBAL
            for each in self.addresses
        )

    @property
    def public(self) -> str | None:
        """
        Its public IPv4 address, if there is exactly one.
        """
        return self._only(AddressKind.GLOBAL)

    @property
    def private(self) -> str | None:
        """
        Its private IPv4 address, if there is exactly one.
        """
        return self._only(AddressKind.PRIVATE)

    def _only(self, kind: AddressKind) -> str | None:
        """
        Find the only IPv4 address of a kind.
        """
        found = {
            each.host
            for each in self.addresses
            if not each.is_ipv6 and address_kind(each.packed) is kind
        }
        return found.pop() if len(found) == 1 else None

    @property
    def is_behind_nat(self) -> bool:
        """
        Whether it may be: it has a private address, or it is not known what it has.
        """
        kinds = {address_kind(each.packed) for each in self.addresses if not each.is_ipv6}
        return kinds != {AddressKind.GLOBAL}


def summary(story: LinkStory | None, here: Side, there: Side) -> str:
    """
    Say how a peer is reached, and by which fact, in one sentence.

    @param story: of the link; C{None} if there is none.
    """
    name = there.name or "the peer"
    active = None if story is None else story.active
    if story is None:
        return f"there is no link to {name}"
    if active is None:
        return f"there is a link to {name}, and no way is in use"
    rtt = "" if active.rtt is None else f", {active.rtt * 1000:.1f} ms"
    if story.is_silent:
        return f"{name} has fallen silent: no way answers at present"
    match active.kind:
        case "direct":
            return f"data goes straight to {name}{rtt}"
        case "punched":
            hole = "the NATs" if here.is_behind_nat else "its NAT"
            return f"data goes to {name} directly, through a hole in {hole}{rtt}"
        case _:
            return f"data goes to {name} through a relay{rtt}: {_why_relayed(story, here, there)}"


def _direct(story: LinkStory) -> list[WayStory]:
    """
    List the direct ways.
    """
    return [each for each in story.ways if each.is_direct]


def _why_relayed(story: LinkStory, here: Side, there: Side) -> str:
    """
    Say in a few words why no direct way is used.
    """
    direct = _direct(story)
    tried = [each for each in direct if each.verdict is not Verdict.NOT_TRIED]
    if story.policy is PathPolicy.RELAYED:
        return "the path policy says so"
    if any(each.verdict is Verdict.READY for each in direct):
        return "a direct way works and is held back or in doubt"
    has_answered = any(each.has_answered for each in tried)
    name = there.name or "the peer"
    if here.is_udp_working is False and not has_answered:
        is_all = bool(direct) and not tried and _has_private_only(direct)
        return f"no UDP gets out here{', nor probably there' if is_all else ''}"
    if _is_undecided(tried):
        return "direct ways are still being tried"
    if not direct:
        return f"{name} names no address"
    if not tried:
        return _why_none(direct, here, name)
    if any(each.is_too_small for each in tried):
        return "a direct way answers, but loses datagrams of full size"
    if has_answered:
        return "the direct way worked and then fell silent"
    return f"no direct way has answered{_in_short(story, here, there, name)}"


def _why_none(refused: list[WayStory], here: Side, name: str) -> str:
    """
    Say in a few words why no address of the peer is tried.
    """
    if _has_private_only(refused):
        return f"{name} names no public address, probably because UDP is blocked there"
    family = _barred_family(refused, here)
    if family is not None:
        return f"{name} names public addresses of {family} alone, and there is no {family} here"
    return f"none of the addresses of {name} may be tried"


def _is_undecided(tried: list[WayStory]) -> bool:
    """
    Say whether an answer may still be expected of a way.
    """
    return any(each.verdict is Verdict.TRYING and not each.is_doubtful for each in tried)


def _in_short(story: LinkStory, here: Side, there: Side, name: str) -> str:
    """
    Say in a few words what is known of the NATs that keep two apart, if anything is.
    """
    if story.is_near:
        return ", for both machines are behind the same public address"
    match here.has_stable_port, there.has_stable_port:
        case False, False:
            return ", for both NATs take another port for each peer"
        case False, _:
            return ", for this side's NAT takes another port for each peer"
        case _, False:
            return f", for the NAT of {name} takes another port for each peer"
        case _:
            return ""


def _has_private_only(refused: list[WayStory]) -> bool:
    """
    Say whether all addresses are private ones, as of a peer that does not know its public one.
    """
    return {
        address_kind(each.way.address.packed) for each in refused if isinstance(each.way, DirectWay)
    } <= {AddressKind.PRIVATE}


def _barred_family(refused: list[WayStory], here: Side) -> str | None:
    """
    Name the one address family of all public addresses, if we cannot send by it.
    """
    families = {
        each.way.address.is_ipv6
        for each in refused
        if isinstance(each.way, DirectWay)
        and address_kind(each.way.address.packed) is AddressKind.GLOBAL
    }
    if len(families) != 1 or not families <= here.barred.keys():
        return None
    return "IPv6" if True in families else "IPv4"


def remedies(story: LinkStory | None, here: Side, there: Side) -> list[str]:
    """
    Say what would help, the most pressing first; nothing if all is well.

    @param story: of the link; C{None} if there is none.
    """
    if story is None or story.is_silent:
        return _without_link(here, there)
    active = story.active
    if active is None or active.is_direct:
        return []
    return _without_relay(story, here, there)


def _without_relay(story: LinkStory, here: Side, there: Side) -> list[str]:
    """
    Say what would bring data off the relay.
    """
    if story.policy is PathPolicy.RELAYED:
        return [
            "relayed because the path policy says so: `paths` in config.toml, --paths or"
            " ATMOSPHERE_PATHS; `auto` allows direct ones"
        ]
    name = there.name or "the peer"
    direct = _direct(story)
    tried = [each for each in direct if each.verdict is not Verdict.NOT_TRIED]
    has_answered = any(each.has_answered for each in tried)
    if any(each.verdict is Verdict.READY for each in direct):
        return []
    if here.is_udp_working is False and not has_answered:
        found = [
            "UDP is blocked here, or the relay's STUN (UDP port 3478) is off: the relay answers by"
            " TCP, and nothing by UDP. Have the firewall of this network let UDP out, to any"
            " address and port; nothing has to be let in. Until then the relay carries the data"
        ]
        return found if tried else [*found, _about_addresses(direct, here, name)]
    if _is_undecided(tried):
        return ["direct ways are still being tried: ask again in a few seconds"]
    if not tried:
        return [_about_addresses(direct, here, name)]
    if any(each.is_too_small for each in tried):
        return [
            "a direct way carries only small datagrams: a VPN or tunnel on it has an MTU below"
            " 1,280 bytes; raise that, or leave it out"
        ]
    if has_answered:
        return [
            "the direct way is tried again for ever; if it never comes back, a firewall or NAT"
            " between may have changed: `atmosphere network` on both machines says how they are"
        ]
    if story.is_near:
        return [
            "both machines are behind the same public address, and its router does not lead back"
            " in what one sends to the other (no hairpinning): connect both to one network, or use"
            " IPv6 on both. A forwarded port helps only on the router that has that address, and"
            " nobody can forward one on a carrier's"
        ]
    closed = next((each for each in tried if each.origin == ADVERTISED), None)
    if closed is not None and isinstance(closed.way, DirectWay):
        return [
            f"{name} advertises {closed.way.address}, and nothing answers there: see whether its"
            f" router forwards UDP port {closed.way.address.port} to that machine, and whether a"
            " firewall on it lets that in",
            _use_ipv6(here, there, name),
        ]
    return _about_nats(here, there, name, story.guessing)


def _about_addresses(refused: list[WayStory], here: Side, name: str) -> str:
    """
    Say what to do when no address of the peer may be tried.
    """
    if not refused:
        return (
            f"{name} names no address at all: UDP is off or blocked there; `atmosphere network`"
            " on that machine says more"
        )
    if _has_private_only(refused):
        return (
            f"{name} names no address but private ones of its own network: UDP is probably blocked"
            " there, so that it cannot learn its public one; `atmosphere network` on that machine"
            " tells. Have the firewall there let UDP out, to any address and port"
        )
    family = _barred_family(refused, here)
    if family is not None:
        other = "IPv4" if family == "IPv6" else "IPv6"
        return (
            f"{name} names no public address but of {family}, and there is no {family} here:"
            f" turn on {family} in this network's router, or see why {name} does not know a"
            f" public address of {other}, by `atmosphere network` on that machine"
        )
    return f"{name} names no address that may be tried: `atmosphere network` there says more"


def _port(side: Side) -> str:
    """
    Name the port that a router would have to forward.
    """
    return "the node's UDP port" if side.port is None else f"UDP port {side.port}"


def _forward(here: Side, there: Side) -> list[str]:
    """
    Say what to forward on which router, and how the others learn of it.

    @return: the beginning of a sentence, and then what to do on either side.
    """
    is_same = here.port == there.port or there.port is None
    what = _port(here) if is_same else "a UDP port"
    return [
        f"forward {what} on either router, or where one is a carrier's, on the other:",
        *(
            f"{way}{_place(each, None if is_same else _port(each))}"
            for way, each in (("", here), ("or ", there))
        ),
    ]


def _place(side: Side, port: str | None) -> str:
    """
    Say what to do on one side.

    @param port: what to forward, if it is to be said.
    """
    where = "here" if side.name is None else f"at {side.name}"
    if not side.is_behind_nat:
        return f"{where}: there is no router; let {port or 'it'} in through the firewall"
    machine = side.private or f"the machine{'' if side.name is None else ' there'}"
    what = "" if port is None else f"{port} "
    public = side.public or "PUBLIC-ADDRESS"
    return f"{where}: {what}to {machine}, and start it with `atmosphere serve --advertise {public}`"


def _use_ipv6(here: Side, there: Side, name: str) -> str:
    """
    Say who would have to turn on IPv6.
    """
    match here.has_ipv6, there.has_ipv6:
        case True, True:
            return (
                "or let UDP in and out by IPv6, which both sides have and no NAT is in the way of:"
                " a firewall drops it"
            )
        case True, False:
            return f"or turn on IPv6 at {name}, as it is here: there no NAT is in the way"
        case False, True:
            return f"or turn on IPv6 here, as it is at {name}: there no NAT is in the way"
        case _:
            return "or turn on IPv6 on both sides: there no NAT is in the way"


#: What is said of a NAT that others cannot know the port of.
_HARD = "is address-dependent: it takes another public port for each peer"


def _about_nats(here: Side, there: Side, name: str, guessing: str | None) -> list[str]:
    """
    Say what to do when no direct way ever answered.

    @param guessing: how it stands with guessing ports.
    """
    joint = "; "
    match here.has_stable_port, there.has_stable_port:
        case False, False:
            fact = (
                "both NATs are address-dependent: each takes another public port for each peer, and"
                " neither side can know which"
            )
        case False, is_stable:
            fact = f"this side's NAT {_HARD}"
            if is_stable:
                fact += f"; that of {name} lets in only the ports it knows"
        case is_stable, False:
            fact = f"the NAT of {name} {_HARD}"
            if is_stable:
                fact += "; this side's lets in only the ports it knows"
        case True, True:
            return [
                "both NATs keep their ports, so hole punching should work: a firewall on either"
                f" side drops UDP; let UDP in and out there, and see `atmosphere network` on {name}"
            ]
        case _:
            joint = ", or "
            fact = (
                "a NAT or firewall on either side lets nothing in, or UDP out to some ports alone:"
                " `atmosphere network` on both machines tells more. Let UDP out to any port there"
            )
    forward, *places = _forward(here, there)
    found = [f"{fact}{joint}{forward}", *places, _use_ipv6(here, there, name)]
    return found if guessing is None else [*found, guessing]


def _without_link(here: Side, there: Side) -> list[str]:
    """
    Say what to do when there is no link at all.
    """
    name = there.name or "the peer"
    found = [f"relay {url} has not let us in: {reason}" for url, reason in here.failed_relays]
    common = [url for url in there.relays if url in here.relays]
    if there.is_absent_at:
        found.append(
            f"{name} is not connected to {_listed(there.is_absent_at)}: is `atmosphere serve`"
            " running there, and does that machine reach the relay?"
        )
    elif not here.relays and not here.failed_relays:
        found += _without_any_relay(there, name)
    elif there.relays and not common and not here.failed_relays:
        found.append(f"{name} and this node have no relay in common: name the same one on both")
    if not there.addresses and not there.relays:
        found.append(f"nothing says where {name} is: it has never published an address or relay")
    if not found:
        found.append(_about_machine(name))
    return found


def _without_any_relay(there: Side, name: str) -> list[str]:
    """
    Say what to do at a node that has no relay.
    """
    if there.relays or not there.has_public_address:
        return ["this node has no relay: `--relay URL` names one; most peers need it"]
    return [
        _about_machine(name),
        f"neither this node nor {name} has a relay: both dial the last address that they know of"
        " the other, again and again, and meet as long as each is seen there. Where a NAT gives"
        " one another address or port, nobody can tell the other: `--relay URL` on both sides"
        " mends that, or a forwarded UDP port and --advertise PUBLIC-ADDRESS on one",
    ]


def _about_machine(name: str) -> str:
    """
    Say what to look at first.
    """
    return f"{name} does not answer: is its machine on, and `atmosphere serve` running there?"


def _listed(urls: tuple[str, ...]) -> str:
    """
    Name relays.
    """
    return " or ".join(f"relay {url}" for url in urls)
