"""
Tests for names that are looked up when they are asked for.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lazy import lazy_names


class LazyNamesTests(SynchronousTestCase):
    """
    What a package hands out.
    """

    def test_names(self) -> None:
        """
        A name is found where it lives, and listed.
        """
        get, names = lazy_names("a.face", {"atmosphere.rate": ["TokenBucket"], "json": ["loads"]})
        self.assertEqual(get("loads")("[1]"), [1])
        self.assertEqual(get("TokenBucket").__module__, "atmosphere.rate")
        self.assertEqual(names(), ["TokenBucket", "loads"])

    def test_unknown(self) -> None:
        """
        Any other name is not there, as the import system expects to hear it.
        """
        get, _ = lazy_names("a.face", {})
        with self.assertRaisesRegex(AttributeError, "'a.face' has no attribute 'colour'"):
            get("colour")
