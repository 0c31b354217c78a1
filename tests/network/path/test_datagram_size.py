"""
Tests of L{atmosphere.network.path.datagram_size}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.datagram_size import FULL_SIZE, SIZES, DatagramSize


class DatagramSizeTests(SynchronousTestCase):
    """
    Which sizes are tried when.
    """

    def probe(self, sizes: DatagramSize, largest: int, until: float) -> list[tuple[float, int]]:
        """
        Let time pass on a way that carries so much.

        @return: when which probe left.
        """
        sent: list[tuple[float, int]] = []
        for _ in range(1000):
            now = sizes.due
            if now is None or now > until:
                return sent
            size = sizes.probe(now)
            if size is not None:
                sent.append((round(now, 3), size))
                sizes.sent(now)
                if size <= largest:
                    sizes.answered(now, size)
        raise AssertionError("it spins")

    def test_ethernet(self) -> None:
        """
        The usual size is found by one probe, and confirmed every two minutes.
        """
        for is_ipv6, largest in ((False, 1472), (True, 1452)):
            sizes = DatagramSize(is_ipv6=is_ipv6)
            self.assertIsNone(sizes.probe(0.0))
            sizes.begin(0.0)
            sizes.begin(0.5)
            sent = self.probe(sizes, 1472, 300.0)
            self.assertEqual(sent, [(1.0, largest), (121.0, largest), (241.0, largest)])
            self.assertEqual(sizes.size, largest)

    def test_every_size(self) -> None:
        """
        Whatever the way carries is found by at most 12 probes, each size by 3 at most.
        """
        for is_ipv6 in (False, True):
            known = [each for each in SIZES if each <= (1452 if is_ipv6 else 1472)]
            for largest in known:
                sizes = DatagramSize(is_ipv6=is_ipv6)
                sizes.begin(0.0)
                sent = self.probe(sizes, largest, 20.0)
                self.assertEqual(sizes.size, largest)
                self.assertLessEqual(len(sent), 12)
                self.assertTrue(all(size > FULL_SIZE for _, size in sent))

    def test_smallest(self) -> None:
        """
        A way that carries no more than full size is asked again after ten minutes.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        sent = self.probe(sizes, FULL_SIZE, 600.0)
        self.assertLess(sent[-1][0], 15)
        again = self.probe(sizes, 1472, 640.0)
        self.assertEqual([size for _, size in again], [1472])
        self.assertEqual(sizes.size, 1472)

    def test_raise(self) -> None:
        """
        A path that grows is found after ten minutes.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        self.probe(sizes, 1400, 500.0)
        self.assertEqual(sizes.size, 1400)
        self.probe(sizes, 1472, 900.0)
        self.assertEqual(sizes.size, 1472)

    def test_black_hole(self) -> None:
        """
        A size that goes no longer is back at full size after three probes, and what
        still goes is found.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        self.probe(sizes, 1472, 10.0)
        sent = self.probe(sizes, 1280, 123.5)
        self.assertEqual([size for _, size in sent], [1472] * 3)
        self.assertEqual(sizes.size, 1472)
        self.probe(sizes, 1280, 124.0)
        self.assertLess(sizes.size, 1472)
        self.probe(sizes, 1280, 140.0)
        self.assertEqual(sizes.size, 1280)
        sizes.end()
        self.assertEqual((sizes.size, sizes.due, sizes.target), (FULL_SIZE, None, None))
        sizes.answered(150.0, 1472)
        self.assertEqual(sizes.size, FULL_SIZE)

    def test_late_answer(self) -> None:
        """
        An answer to a size that is not looked for any more changes nothing.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        for now in (1.0, 2.0, 3.0):
            self.assertEqual(sizes.probe(now), 1472)
            sizes.sent(now)
        self.assertEqual(sizes.probe(4.0), 1280)
        sizes.answered(4.0, 1472)
        self.assertEqual(sizes.size, FULL_SIZE)
        sizes.put_off(4.5)
        self.assertIsNone(sizes.probe(4.4))
