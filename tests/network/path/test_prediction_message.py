"""
Tests of L{atmosphere.network.path.prediction_message}.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.network.path.prediction_message import (
    MAX_PREDICTION_LENGTH,
    MAX_SECONDS,
    PredictionMessage,
    Step,
    decode_prediction,
)

consents = st.builds(
    PredictionMessage, st.sampled_from(Step), st.integers(0, 2**32 - 1), st.integers(0, MAX_SECONDS)
)


class ConsentTests(SynchronousTestCase):
    """
    The bytes of the messages about guessing ports.
    """

    @given(consents)
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_both_ways(self, message: PredictionMessage) -> None:
        """
        What is written is read, and is short.
        """
        payload = message.encode()
        self.assertEqual(decode_prediction(payload), message)
        self.assertLessEqual(len(payload), MAX_PREDICTION_LENGTH)

    def test_bytes(self) -> None:
        """
        The page's layout, byte by byte.
        """
        self.assertEqual(PredictionMessage(Step.PROPOSE, 1).encode().hex(), "8401010100")
        self.assertEqual(PredictionMessage(Step.REFUSE, 2, 60).encode().hex(), "84010302183c")

    @given(st.binary(max_size=80))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_bytes(self, payload: bytes) -> None:
        """
        Any bytes are a message, nothing to us, or a L{DecodeError}.
        """
        try:
            decode_prediction(payload)
        except DecodeError as error:
            self.assertTrue(str(error))

    def test_later_versions(self) -> None:
        """
        Another version, another step and more elements mean nothing, and are no error.
        """
        self.assertIsNone(decode_prediction(wire.encode([2, "other"])))
        self.assertIsNone(decode_prediction(wire.encode([1, 9, 1, 0])))
        message = decode_prediction(wire.encode([1, 1, 7, 0, "more"]))
        self.assertEqual(message, PredictionMessage(Step.PROPOSE, 7))

    def test_out_of_form(self) -> None:
        """
        A message of our version that is out of form is refused.
        """
        bad: list[wire.Value] = [
            [],
            7,
            [1],
            [1, 1, 1],
            [True, 1, 1, 0],
            [1, True, 1, 0],
            [1, 1, "1", 0],
            [1, 1, -1, 0],
            [1, 1, 2**32, 0],
            [1, 1, 1, MAX_SECONDS + 1],
            [1, 1, 1, 0, "x" * 60],
        ]
        for value in bad:
            self.assertRaises(DecodeError, decode_prediction, wire.encode(value))
