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

    def test_doubt(self) -> None:
        """
        What is doubted is asked for soon, and but once in a second; who doubts what was
        never more than full size changes nothing.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.doubt(0.0, 0.2)
        self.assertIsNone(sizes.due)
        sizes.begin(0.0)
        sizes.doubt(0.5, 0.2)
        self.probe(sizes, 1472, 10.0)
        sizes.doubt(10.0, 0.2)
        sizes.doubt(10.0, 0.2)
        self.assertEqual(self.probe(sizes, 1472, 10.5), [(10.0, 1472)])
        sizes.doubt(10.1, 0.2)
        self.assertEqual(self.probe(sizes, 1472, 20.0), [(11.0, 1472)])
        sizes.doubt(20.0, 0.2)
        sent = self.probe(sizes, 1300, 20.5)
        self.assertEqual(sent, [(20.0, 1472), (20.2, 1472), (20.4, 1472)])
        self.assertEqual(sizes.size, 1472)
        sizes.probe(20.6)
        self.assertEqual((sizes.size, sizes.hole), (FULL_SIZE, 1472))
        self.probe(sizes, 1300, 40.0)
        self.assertEqual((sizes.size, sizes.hole), (1280, 1472))
        self.probe(sizes, 1472, 700.0)
        self.assertEqual((sizes.size, sizes.hole), (1472, 0))

    def test_doubt_in_a_search(self) -> None:
        """
        A search for more goes on when a doubt was settled.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        self.probe(sizes, 1300, 4.1)
        self.assertEqual(sizes.size, 1280)
        sizes.doubt(4.2, 0.2)
        self.assertEqual(self.probe(sizes, 1410, 4.5)[0], (4.2, 1280))
        self.probe(sizes, 1410, 30.0)
        self.assertEqual(sizes.size, 1400)

    def test_nothing_answers(self) -> None:
        """
        While nothing is answered at all, the way itself is the matter and no size of datagrams.
        """
        sizes = DatagramSize(is_ipv6=False)
        sizes.begin(0.0)
        self.probe(sizes, 1472, 10.0)
        sizes.doubt(10.0, 0.2)
        now = 0.0
        for _ in range(100):
            now = sizes.due or now
            if sizes.probe(now, 9.9) is not None:
                sizes.sent(now)
        self.assertEqual(sizes.size, 1472)
        self.assertGreater(now, 20.0)
        sizes.expire(now + 1.0, None)
        self.assertEqual(sizes.size, 1472)
        sizes.answered(now + 1.1, 1472)
        self.assertEqual((sizes.size, sizes.hole), (1472, 0))
        sizes.doubt(50.0, 0.2)
        for _ in range(4):
            if sizes.probe(sizes.due or 0.0, 50.1) is not None:
                sizes.sent(sizes.due or 0.0)
        self.assertEqual((sizes.size, sizes.hole, sizes.is_news), (FULL_SIZE, 1472, True))

    def test_adopt(self) -> None:
        """
        What another link found is taken, if there is such a size, and confirmed.
        """
        sizes = DatagramSize(is_ipv6=True)
        for wrong in (0, 1472, 1300, 9000):
            sizes.adopt(0.0, wrong)
            self.assertEqual((sizes.size, sizes.due), (FULL_SIZE, None))
        sizes.adopt(0.0, 1280)
        self.assertEqual(sizes.size, 1280)
        sizes.begin(0.1)
        self.probe(sizes, 1472, 10.0)
        self.assertEqual(sizes.size, 1452)
        sizes.adopt(11.0, 1280)
        self.assertEqual(sizes.size, 1452)

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
