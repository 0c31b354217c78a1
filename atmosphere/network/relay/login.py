# -*- test-case-name: tests.network.relay.test_login -*-
"""
Login: from a hello to an admission, or to the reason why not.

The order is that of C{docs/protocols/relay.md} §3: layout, authority,
signature, admission. Nothing is remembered of a client before its signature
was verified.
"""

from __future__ import annotations

from collections.abc import Callable

from atmosphere.errors import DecodeError, JoinError, MembershipError

from .frames import MAX_HELLO, Hello, Refused, RefusedCode, Welcome, signed_bytes
from .limits import RelayConfig, matches_name, split_authority
from .line import Admission, Line
from .reader import decode

__all__ = ["Login"]


class Login:
    """
    Decides whom a relay lets in.

    @ivar names: the relay's own names; with none, every authority is accepted.
    """

    def __init__(
        self,
        config: RelayConfig,
        *,
        wall: Callable[[], float],
        admit: Callable[[Hello], Admission],
        stun_ports: Callable[[], tuple[int, ...]],
    ) -> None:
        """
        @param admit: decides about a node whose signature is good; raises
            L{MembershipError} or L{JoinError} to refuse it.
        @param stun_ports: the ports that the welcome names.
        """
        self.names = config.names
        self._config = config
        self._wall = wall
        self._admit = admit
        self._stun_ports = stun_ports

    def decide(self, line: Line, message: bytes) -> tuple[Hello, Admission] | Refused:
        """
        Decide about a client.

        @param line: whose nonce was to be signed.
        @param message: its first frame.
        @raise DecodeError: that is no hello.
        """
        if len(message) > MAX_HELLO:
            raise DecodeError(f"before the welcome a frame has at most {MAX_HELLO} bytes")
        hello = decode(message)
        if not isinstance(hello, Hello):
            raise DecodeError("the first frame of a client is a hello")
        if split_authority(hello.authority)[1] is None:
            raise DecodeError("an authority is HOST:PORT")
        if self.names and not matches_name(hello.authority, self.names):
            return Refused(RefusedCode.AUTHORITY, f"{hello.authority} is none of our names")
        signed = signed_bytes(hello.authority, line.nonce, hello.node, hello.credentials.mesh_id)
        if not hello.node.verifies(hello.signature, signed):
            return Refused(RefusedCode.SIGNATURE, "the signature does not verify")
        try:
            return hello, self._admit(hello)
        except (MembershipError, JoinError) as error:
            return Refused(RefusedCode.NOT_ADMITTED, str(error))

    def rate_of(self, admission: Admission) -> tuple[float, float]:
        """
        Say how fast a node may send, and its burst; zeros for no limit.
        """
        config, limits = self._config, self._config.limits
        if config.rate:
            return config.rate, 2 * config.rate
        if admission.is_proven or config.is_loopback_only or not limits.rate:
            return 0, 0
        return limits.rate, limits.burst

    def welcome(self, line: Line) -> Welcome:
        """
        Make the welcome for a node that was let in.
        """
        rate, burst = self.rate_of(line.admission)
        return Welcome(
            line.observed,
            self._stun_ports(),
            self._wall(),
            rate=round(rate),
            burst=round(burst),
            is_open=self._config.serves_anyone,
            mesh_id=line.admission.mesh_id,
        )

    def seconds_left(self, admission: Admission) -> float:
        """
        Say how long an admission lasts from now on.
        """
        if admission.expires is None:
            return float("inf")
        return max(0.0, admission.expires - self._wall())
