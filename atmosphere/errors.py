# -*- test-case-name: tests.test_errors -*-
"""
The error tree: everything that atmosphere raises on purpose.

Facts are attributes, the text is one line for people. Each class says with
which status the command line ends when the error reaches it.
"""

from __future__ import annotations

__all__ = [
    "AtmosphereError",
    "ConfigurationError",
    "DecodeError",
    "IdentityError",
    "JoinError",
    "LinkError",
    "ListenError",
    "MembershipError",
    "NoPathError",
    "NotRunningError",
    "RelayError",
    "StateError",
    "StreamRefusedError",
    "TransactionRefusedError",
    "TransactionTimeoutError",
]


class AtmosphereError(Exception):
    """
    The root of the tree.

    @cvar exit_code: the status with which the command line ends.
    """

    exit_code = 1


class ConfigurationError(AtmosphereError):
    """
    The user's words do not fit: an option, a configuration file, a call.
    """

    exit_code = 2


class DecodeError(AtmosphereError, ValueError):
    """
    Bytes from outside are not what their format says.

    @ivar section: the clause that was broken, such as C{"RFC 8489 §14.8"}.
    """

    def __init__(self, text: str, *, section: str | None = None) -> None:
        super().__init__(text if section is None else f"{text} ({section})")
        self.section = section


class IdentityError(AtmosphereError):
    """
    A key is not one that may name a node, or is not the one that was wanted.
    """

    exit_code = 4


class MembershipError(AtmosphereError):
    """
    A chain of signed statements does not make its holder a member.
    """

    exit_code = 4


class JoinError(AtmosphereError):
    """
    A join code was not accepted, or a node may not join.
    """

    exit_code = 4


class LinkError(AtmosphereError):
    """
    A link between two nodes could not be made, or has ended.

    @ivar refusal: why the other end does not want it, in its own words; C{None}
        if that is not the reason.
    """

    exit_code = 3

    def __init__(self, text: str, *, refusal: str | None = None) -> None:
        super().__init__(text)
        self.refusal = refusal


class NoPathError(LinkError):
    """
    No way leads to the peer at present.

    @ivar pairs: how many ways were tried.
    """

    def __init__(self, text: str, *, pairs: int = 0) -> None:
        super().__init__(text)
        self.pairs = pairs


class StreamRefusedError(AtmosphereError):
    """
    The peer does not serve that name, or not to us.
    """

    exit_code = 4


class RelayError(AtmosphereError):
    """
    A relay is out of reach, is no relay, or refused us.
    """

    exit_code = 3


class StateError(AtmosphereError):
    """
    The state directory, or a file in it, cannot be used as it is.
    """

    exit_code = 1


class NotRunningError(AtmosphereError):
    """
    The command needs a running node and there is none.
    """

    exit_code = 3


class ListenError(AtmosphereError):
    """
    A port or socket cannot be bound.

    @ivar port: the port that was asked for; 0 for a UNIX socket.
    """

    exit_code = 71

    def __init__(self, text: str, *, port: int = 0) -> None:
        super().__init__(text)
        self.port = port


class TransactionTimeoutError(AtmosphereError):
    """
    A STUN server gave no response (RFC 8489 §6.2.1).

    @ivar attempts: how many requests were sent.
    """

    exit_code = 3

    def __init__(self, text: str, *, attempts: int = 0) -> None:
        super().__init__(text)
        self.attempts = attempts


class TransactionRefusedError(AtmosphereError):
    """
    A STUN server answered with an error response (RFC 8489 §6.3.4).

    @ivar code: the ERROR-CODE, 300 to 699.
    """

    exit_code = 4

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code
