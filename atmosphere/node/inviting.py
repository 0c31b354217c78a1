# -*- test-case-name: tests.node.test_inviting -*-
"""
Making a join code, and redeeming one: what the commands C{invite} and C{join} do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.certificates import decode_chain
from atmosphere.errors import DecodeError, JoinError, LinkError, NoPathError
from atmosphere.identity import NodeKey
from atmosphere.mesh.invitation import invitation_of
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.mesh.joiner import Admitted, Joiner
from atmosphere.network.nat.candidates import CandidateType
from atmosphere.network.path.ways import Way
from atmosphere.network.quic.connection import Link
from atmosphere.text import escape_peer_text

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
    code = issue_join_code(
        key,
        stored.chain,
        mesh_name=stored.name,
        endpoint=str(local),
        wall=wall,
        entropy=entropy,
        public_endpoint=str(public[0]) if public else None,
        relay_urls=relays,
        endpoints=[str(each) for each in hosts[1 : 1 + MAX_CODE_ENDPOINTS]],
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
    ) -> None:
        self._reactor = reactor
        self._code = code
        self._key = key
        self._wanted_name = wanted_name
        self._links = links
        self._surroundings = surroundings
        self._now = now
        self._wall = wall
        self._last_error = "no relay of the code let us in, and no address of it is within reach"

    def _endpoints(self) -> Sequence[TransportAddress]:
        """
        List the addresses that the code names.
        """
        texts = [self._code.endpoint, self._code.public_endpoint, *self._code.endpoints]
        found = []
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

    async def run(self) -> Admitted:
        """
        Find the issuer, and ask.

        @raise JoinError: the code was not accepted.
        @raise NoPathError: the issuer was not reached within 30 s.
        """
        started = self._now()
        is_first = True
        while self._now() - started < JOIN_TIMEOUT:
            ways = self._ways()
            wants_relay = bool(self._code.relay_urls) and not any(
                url in self._surroundings.relays.welcomed for url in self._code.relay_urls or ()
            )
            if ways and not (is_first and wants_relay and self._now() - started < 2.0):
                is_first = False
                admitted = await self._try(ways)
                if admitted is not None:
                    return admitted
            await deferLater(self._reactor, RETRY_PAUSE if ways else 0.1)
        raise NoPathError(
            f"the node that issued the code was not reached: {self._relay_error()};"
            " is it running, and is the relay?"
        )

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
            link = await self._links.endpoint.dial(self._code.issuer, ways)
        except LinkError as error:
            self._last_error = escape_peer_text(str(error), 160)
            return None
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
