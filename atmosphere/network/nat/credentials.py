# -*- test-case-name: tests.network.nat.test_credentials -*-
"""
The credentials of connectivity checks (RFC 8445 §5.3).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from atmosphere.network.stun.integrity import short_term_key

__all__ = ["Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    One agent's user name fragment and password.

    @ivar ufrag: names that agent.
    @ivar pwd: the password of checks to it.
    """

    ufrag: str
    pwd: str = field(repr=False)

    @classmethod
    def from_entropy(cls, entropy: Callable[[int], bytes]) -> Credentials:
        """
        Make new ones: 48 bits in 8 characters, 144 in 24.
        """
        return cls(b64encode(entropy(6)).decode(), b64encode(entropy(18)).decode())

    @property
    def key(self) -> bytes:
        """
        The key of MESSAGE-INTEGRITY.
        """
        return short_term_key(self.pwd)
