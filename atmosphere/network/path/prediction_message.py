# -*- test-case-name: tests.network.path.test_prediction_message -*-
"""
What two nodes say to each other before they guess ports: the bytes.

C{docs/protocols/prediction.md} §2 is the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from atmosphere import wire
from atmosphere.errors import DecodeError

__all__ = ["MAX_PREDICTION_LENGTH", "MAX_SECONDS", "PredictionMessage", "Step", "decode_prediction"]

VERSION = 1

#: Bytes of a message.
MAX_PREDICTION_LENGTH = 64
MAX_ATTEMPT = 2**32 - 1

#: The longest time that a refusal may name.
MAX_SECONDS = 3600


class Step(Enum):
    """
    What a message says.
    """

    PROPOSE = 1
    ACCEPT = 2
    REFUSE = 3
    STOP = 4


_STEPS = {step.value: step for step in Step}


@dataclass(frozen=True, slots=True)
class PredictionMessage:
    """
    One message.

    @ivar attempt: which attempt it is about.
    @ivar seconds: after how long a new proposal is worth while.
    """

    step: Step
    attempt: int
    seconds: int = 0

    def encode(self) -> bytes:
        """
        Write it.
        """
        return wire.encode([VERSION, self.step.value, self.attempt, self.seconds])


def decode_prediction(payload: bytes) -> PredictionMessage | None:
    """
    Read a message.

    @return: C{None} for one of another version, or one that means nothing to us.
    @raise DecodeError: it breaks its form.
    """
    value = wire.decode(payload, max_length=MAX_PREDICTION_LENGTH)
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise DecodeError("not a message about guessing ports", section="prediction §2")
    if value[0] != VERSION:
        return None
    if len(value) < 4 or any(type(each) is not int for each in value[1:4]):
        raise DecodeError("not a message about guessing ports", section="prediction §2")
    step, attempt, seconds = value[1:4]
    if not (0 <= attempt <= MAX_ATTEMPT and 0 <= seconds <= MAX_SECONDS):
        raise DecodeError("a number is out of range", section="prediction §2")
    return None if step not in _STEPS else PredictionMessage(_STEPS[step], attempt, seconds)
