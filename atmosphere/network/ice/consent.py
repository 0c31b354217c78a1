# -*- test-case-name: tests.network.ice.test_consent -*-
"""
Consent to send, and when it is asked for anew (RFC 7675).
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CONSENT_EXPIRES", "CONSENT_INTERVAL", "Consent"]

#: Seconds between two requests, times 0.8 to 1.2 by chance.
CONSENT_INTERVAL = 5.0

#: Seconds for which one answer is good.
CONSENT_EXPIRES = 30.0


class Consent:
    """
    The peer's consent to get data by one path.

    @ivar due: when it is to be asked for next.
    @ivar until: when it expires.
    """

    def __init__(self, now: float, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self.until = now + CONSENT_EXPIRES
        self.due = now + self._pause()

    def _pause(self) -> float:
        """
        Seconds until the next request, by chance.
        """
        chance = int.from_bytes(self._entropy(2), "big") / 65535
        return CONSENT_INTERVAL * (0.8 + 0.4 * chance)

    def asked(self, now: float) -> None:
        """
        A request left.
        """
        self.due = now + self._pause()

    def given(self, now: float) -> None:
        """
        A request was answered.
        """
        self.until = now + CONSENT_EXPIRES
