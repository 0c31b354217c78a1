"""
Tests for atmosphere.lab.namespaces.
"""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab import LabError, Namespace, missing

from .lab_case import LabTestCase


class NamespaceTests(LabTestCase):
    """
    Networks of their own.
    """

    def test_apart(self) -> None:
        """
        A new one has nothing but loopback, and this thread is where it was before.
        """
        before = os.readlink("/proc/thread-self/ns/net")
        one = Namespace("one")
        self.addCleanup(one.close)
        self.assertEqual(os.readlink("/proc/thread-self/ns/net"), before)
        self.assertEqual(len(one.run("ip", "-o", "link").splitlines()), 1)
        self.assertNotEqual(one.run("readlink", "/proc/self/ns/net").strip(), before)

    def test_setting(self) -> None:
        """
        A setting of the kernel's is changed there, and not here.
        """
        path = "/proc/sys/net/ipv4/ip_default_ttl"
        with open(path) as file:
            before = file.read()
        one = Namespace("one")
        self.addCleanup(one.close)
        one.set("ipv4/ip_default_ttl", 77)
        self.assertEqual(one.run("cat", path), "77\n")
        with open(path) as file:
            self.assertEqual(file.read(), before)

    def test_errors(self) -> None:
        """
        What fails there is told with the machine's name, in one line.
        """
        one = Namespace("one")
        self.addCleanup(one.close)
        error = self.assertRaises(LabError, one.ip, "link", "set", "nothing", "up")
        self.assertRegex(str(error), "^one: ip link set nothing up: .*nothing")
        self.assertRaises(LabError, one.set, "ipv4/nonsense", 1)
        self.assertRaises(LabError, one.load_rules, "nonsense")

    def test_closed(self) -> None:
        """
        It is let go of once, and nothing runs there then.
        """
        one = Namespace("one")
        one.close()
        one.close()
        self.assertRaises(LabError, one.run, "true")


class MissingTests(SynchronousTestCase):
    """
    Machines that lack something.
    """

    def test_program(self) -> None:
        """
        A program that is missing is named, with what to install.
        """
        if os.geteuid() != 0:
            self.assertIn("root", missing() or "")
            return
        self.assertEqual(
            missing(("sh", "no-such-nft")), "no-such-nft not found: install no-such-nft"
        )
