"""
Tests for L{atmosphere.errors}.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import errors


class ErrorTreeTests(SynchronousTestCase):
    """
    The tree has one root and every leaf has an exit status.
    """

    def test_one_root(self) -> None:
        """
        Whoever catches L{errors.AtmosphereError} catches all of ours.
        """
        for name in errors.__all__:
            self.assertTrue(issubclass(getattr(errors, name), errors.AtmosphereError), name)

    def test_exit_codes(self) -> None:
        """
        Every status is one that the command line documents.
        """
        for name in errors.__all__:
            self.assertIn(getattr(errors, name).exit_code, {1, 2, 3, 4, 71}, name)

    def test_decode_error_names_the_clause(self) -> None:
        """
        A L{errors.DecodeError} is a C{ValueError} and shows the clause that was broken.
        """
        error = errors.DecodeError("too short", section="RFC 8489 §5")
        self.assertIsInstance(error, ValueError)
        self.assertEqual(str(error), "too short (RFC 8489 §5)")
        self.assertEqual(error.section, "RFC 8489 §5")
        self.assertIsNone(errors.DecodeError("too short").section)

    def test_facts_are_attributes(self) -> None:
        """
        What a program needs of an error it need not parse.
        """
        self.assertEqual(errors.ListenError("port 80 is taken", port=80).port, 80)
        self.assertEqual(errors.NoPathError("none", pairs=3).pairs, 3)
        self.assertEqual(errors.TransactionTimeoutError("none", attempts=7).attempts, 7)
        self.assertEqual(errors.TransactionRefusedError("no", code=420).code, 420)
