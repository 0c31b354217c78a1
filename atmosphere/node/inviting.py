# -*- test-case-name: tests.node.test_inviting -*-
"""
Making a join code, and redeeming one: what the commands C{invite} and C{join} do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.certificates import decode_chain
from atmosphere.errors import DecodeError, JoinError, LinkError, NoPathError
from atmosphere.identity import NodeKey
from atmosphere.mesh.answer import is_answer
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.mesh.joiner import Admitted, Joiner
from atmosphere.network.nat.candidates import CandidateType
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import Way
from atmosphere.network.quic.connection import Link
from atmosphere.text import escape_peer_text

from .answering import AnswerOffer
from .invitations import Invitations
from .joining import SERVICE, JoinerProtocol, hang_up, impatience
from .links import NodeLinks
from .mesh import NodeMesh
from .requesting import target_of
from .store import StoredMesh
from .surroundings import Surroundings

__all__ = ["Redemption", "make_invitation", "make_plain_code", "read_code"]

JSON = dict[str, Any]

MAX_CODE_RELAYS = 2
MAX_CODE_ENDPOINTS = 3
JOIN_TIMEOUT = 30.0
RETRY_PAUSE = 0.5

#: Seconds after which an answer is made, if no relay of the code lets us in.
ANSWER_AFTER = 4.0

#: Seconds between two dials that knocks call forth.
REDIAL_PAUSE = 4.0

#: Public addresses in a code beside the first.
MAX_CODE_PUBLIC = 2

Result = TypeVar("Result")

_log = Logger()


def make_invitation(
    key: NodeKey,
    mesh: NodeMesh,
    invitations: Invitations,
    surroundings: Surroundings,
    *,
    lifetime: float,
    uses: int,
    wall: float,
    entropy: Callable[[int], bytes],
) -> tuple[JoinCode, list[str]]:
    """
    Make a join code; its invitation is on the disk when this returns.

    @param lifetime: seconds, up to 7 days.
    @return: the code, and warnings for people.
    @raise JoinError: we may not admit.
    @raise DecodeError: a value cannot be.
    """
    stored = _admin(mesh)
    hosts = [
        each.address
        for each in surroundings.candidates()
        if each.type in (CandidateType.HOST, CandidateType.ADVERTISED)
    ]
    public = [
        each.address
        for each in surroundings.candidates()
        if each.type in (CandidateType.ADVERTISED, CandidateType.SERVER_REFLEXIVE)
        and address_kind(each.address.packed) is AddressKind.GLOBAL
    ]
    is_proven = bool(public)
    public += [each for each in hosts if address_kind(each.packed) is AddressKind.GLOBAL]
    port = surroundings.ports.port_of(is_ipv6=False) or surroundings.ports.port_of(is_ipv6=True)
    hosts.sort(key=lambda each: address_kind(each.packed) is AddressKind.LOOPBACK)
    local = hosts[0] if hosts else TransportAddress("127.0.0.1", port or 0)
    relays = surroundings.trusted_relays[:MAX_CODE_RELAYS]
    further = [*hosts[1 : 1 + MAX_CODE_ENDPOINTS], *public[1 : 1 + MAX_CODE_PUBLIC]]
    code = issue_join_code(
        key,
        stored.chain,
        mesh_name=stored.name,
        endpoint=str(local),
        wall=wall,
        entropy=entropy,
        public_endpoint=str(public[0]) if public else None,
        relay_urls=relays,
        endpoints=list(dict.fromkeys(map(str, further))),
        lifetime=lifetime,
        uses=uses,
    )
    invitations.add(invitation_of(code))
    warnings = []
    if not relays and not is_proven:
        warnings.append(
            "without a relay or a public address this code works on the local network only:"
            " give this node a relay (`atmosphere serve --relay URL`) and invite again"
        )
    return code, warnings


def _admin(mesh: NodeMesh) -> StoredMesh:
    """
    See that this node may admit.

    @raise JoinError: it may not.
    """
    stored = mesh.stored
    if stored is None or not mesh.is_admin:
        raise JoinError(
            "this node cannot admit others: run `atmosphere invite` where the mesh was founded,"
            " or `atmosphere mesh restore FILE` here with a backup from there"
        )
    return stored


def make_plain_code(
    mesh: NodeMesh, surroundings: Surroundings, *, lifetime: float, wall: float
) -> tuple[JoinCode, list[str]]:
    """
    Make a code without a secret, as the original program's were: it says where
    to ask, and an admin decides.

    @return: the code, and warnings for people.
    @raise JoinError: we may not admit.
    """
    stored = _admin(mesh)
    preferred = (AddressKind.PRIVATE, AddressKind.GLOBAL, AddressKind.LOOPBACK)
    hosts = sorted(
        (
            each.address
            for each in surroundings.candidates()
            if each.type is CandidateType.HOST
            and address_kind(each.address.packed) in preferred
            and surroundings.is_local(each.address)
        ),
        key=lambda each: (preferred.index(address_kind(each.packed)), each.is_ipv6),
    )
    warnings = []
    if not hosts:
        warnings.append("this node has no address on a local network: nobody will find it by this")
    port = surroundings.ports.port_of(is_ipv6=False) or surroundings.ports.port_of(is_ipv6=True)
    endpoint = hosts[0] if hosts else TransportAddress("127.0.0.1", port or 0)
    root = decode_chain(stored.chain).genesis.roots[0]
    code = JoinCode(
        stored.mesh_id, stored.name, str(root), str(endpoint), int(wall), int(wall + lifetime)
    )
    return code, warnings


def read_code(text: str, wall: float) -> JoinCode:
    """
    Read a join code that somebody pasted.

    @raise JoinError: it is damaged, has expired, or is none.
    """
    if is_answer(text):
        raise JoinError(
            "that is an answer and no code: `atmosphere join --answer -` takes it, on the machine"
            " that made the code"
        )
    try:
        code = JoinCode.from_compact(text)
    except DecodeError as error:
        raise JoinError(f"the code cannot be read: {error}") from None
    if code.is_old:
        target_of(code, wall)
    else:
        code.check_at(wall)
    return code


class Redemption:
    """
    One node's way into a mesh by one code.

    @ivar way: the one by which the issuer was reached last.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        code: JoinCode,
        key: NodeKey,
        wanted_name: str,
        links: NodeLinks,
        surroundings: Surroundings,
        *,
        now: Callable[[], float],
        wall: Callable[[], float],
        timeout: float | None = None,
        emit: Callable[[JSON], None] | None = None,
    ) -> None:
        """
        @param timeout: seconds to wait once there is an answer to be carried; C{None} for
            as long as that is good.
        @param emit: told of that answer, see L{AnswerOffer}; C{None} makes none, for
            nobody would carry it.
        """
        self.way: Way | None = None
        self._reactor = reactor
        self._code = code
        self._key = key
        self._wanted_name = wanted_name
        self._links = links
        self._surroundings = surroundings
        self._now = now
        self._wall = wall
        self._timeout = timeout
        self._offered_at = 0.0
        self._last_dial = -REDIAL_PAUSE
        self._interruptible: Deferred[Any] | None = None
        self._is_knocked = False
        self._offer: AnswerOffer | None = None
        self._offering: IDelayedCall
        self._emit = emit
        self._last_error = "no relay of the code let us in, and no address of it is within reach"

    def _endpoints(self) -> Sequence[TransportAddress]:
        """
        List where the issuer knocked from, and the addresses that the code names.
        """
        texts = [self._code.endpoint, self._code.public_endpoint, *self._code.endpoints]
        found = [] if self._offer is None else list(self._offer.sources)
        for text in texts:
            try:
                found.append(TransportAddress.from_text(text or ""))
            except DecodeError:
                continue
        return found

    def _ways(self) -> list[Way]:
        """
        List the ways to the issuer that are open now.
        """
        return self._links.ways_to(
            self._code.issuer,
            relays=self._code.relay_urls or (),
            endpoints=self._endpoints(),
        )

    def _has_relay(self) -> bool:
        """
        Say whether a relay of the code has let us in.
        """
        welcomed = self._surroundings.relays.welcomed
        return any(url in welcomed for url in self._code.relay_urls or ())

    async def run(self) -> Admitted:
        """
        Find the issuer, and ask.

        @raise JoinError: the code was not accepted.
        @raise NoPathError: the issuer was not reached within 30 s, or, if there was an
            answer to be carried, while that was good.
        """
        self._offering = self._reactor.callLater(ANSWER_AFTER, self._begin_offer)
        try:
            return await self._run()
        finally:
            if self._offering.active():
                self._offering.cancel()
            if self._offer is not None:
                self._offer.stop()

    async def _run(self) -> Admitted:
        """
        Dial until there is an answer, or patience has ended.
        """
        started = self._now()
        is_first = True
        while self._is_patient(started):
            ways = self._ways()
            wants_relay = bool(self._code.relay_urls) and not self._has_relay()
            if ways and not (is_first and wants_relay and self._now() - started < 2.0):
                is_first = False
                admitted = await self._try(ways)
                if admitted is not None:
                    return admitted
            if not self._is_knocked:
                await self._interruptibly(deferLater(self._reactor, RETRY_PAUSE if ways else 0.1))
            self._is_knocked = False
        raise NoPathError(self._unreached())

    def _is_patient(self, started: float) -> bool:
        """
        Say whether the issuer is still looked for.
        """
        offer = self._offer
        if offer is None or offer.expires_at is None:
            return self._now() - started < JOIN_TIMEOUT
        if self._timeout is not None and self._now() - self._offered_at >= self._timeout:
            return False
        return self._wall() < offer.expires_at

    def _begin_offer(self) -> None:
        """
        Make an answer if no relay helps; else see later whether one still does.
        """
        if self._emit is None or self._links.policy is PathPolicy.RELAYED:
            return
        if self.way is not None or self._has_relay():
            self._offering = self._reactor.callLater(ANSWER_AFTER, self._begin_offer)
        else:
            self._offered_at = self._now()
            self._offer = AnswerOffer(
                self._reactor,
                self._code,
                self._key.node_id,
                self._surroundings,
                wall=self._wall,
                emit=self._emit,
                knocked=self._knocked,
            )
            self._offer.start()

    def _knocked(self) -> None:
        """
        The issuer knocks: our NAT lets it in, and its own has just been opened for us.
        """
        if self._now() - self._last_dial < REDIAL_PAUSE or self._interruptible is None:
            return
        self._last_dial = self._now()
        self._is_knocked = True
        self._reactor.callLater(0, self._interruptible.cancel)

    async def _interruptibly(self, deferred: Deferred[Result]) -> Result | None:
        """
        Wait for something, or for a knock.

        @return: C{None} if that was first.
        """
        self._interruptible = deferred
        try:
            return await deferred
        except CancelledError:
            if not self._is_knocked:
                raise
            return None
        finally:
            self._interruptible = None

    def _unreached(self) -> str:
        """
        Say why nothing came of it, and what helps.
        """
        offer = self._offer
        if offer is not None and offer.expires_at is not None:
            return (
                "nobody came by the answer: was it handed to `atmosphere join --answer -` on the"
                " machine that made the code? Run the same command again for a new one"
            )
        text = f"the node that issued the code was not reached: {self._relay_error()};"
        if offer is not None and offer.problem is not None:
            return f"{text} {offer.problem}"
        return f"{text} is it running, and is the relay?"

    def _relay_error(self) -> str:
        """
        Say what kept us from the issuer.
        """
        for url in self._code.relay_urls or ():
            client = self._surroundings.relays.clients.get(url)
            if client is not None and client.error is not None:
                return escape_peer_text(client.error, 160)
        return self._last_error

    async def _try(self, ways: Sequence[Way]) -> Admitted | None:
        """
        Dial the issuer and ask.

        @return: C{None} if it was not reached.
        @raise JoinError: the code was not accepted.
        """
        try:
            link = await self._interruptibly(self._links.endpoint.dial(self._code.issuer, ways))
        except LinkError as error:
            self._last_error = escape_peer_text(str(error), 160)
            return None
        if link is None:
            return None
        self.way = None if link.path is None else link.path.way
        try:
            return await Deferred.fromCoroutine(self._ask(link)).addBoth(hang_up, link)
        except JoinError as error:
            if error.exit_code == JoinError.exit_code:
                raise
            self._last_error = str(error)
            return None

    async def _ask(self, link: Link) -> Admitted:
        """
        Hold the conversation.
        """
        joiner = Joiner(
            self._code,
            self._key.node_id,
            issuer=link.peer,
            binding=link.core.quic.channel_binding(),
            wanted_name=self._wanted_name,
        )
        protocol = JoinerProtocol(joiner, self._wall)
        with impatience(self._reactor, self._links, link, protocol):
            link.open_stream(SERVICE, protocol)
            return await protocol.done
