"""
Tests for L{atmosphere.services.local_socket}.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import StateError
from atmosphere.services.local_socket import MAXIMUM_LENGTH, SocketAddress


class SocketAddressTests(SynchronousTestCase):
    """
    The name of a socket.
    """

    def test_short(self) -> None:
        """
        A name that fits is used as it is.
        """
        address = SocketAddress(Path("/run/atmosphere/control.sock"))
        self.assertEqual(address.text, "/run/atmosphere/control.sock")
        address.close()

    def test_long(self) -> None:
        """
        A name that does not fit is replaced by one that means the same socket.
        """
        deep = Path(self.mktemp()).absolute() / ("d" * 100) / "control.sock"
        deep.parent.mkdir(parents=True)
        address = SocketAddress(deep)
        self.assertLessEqual(len(address.text), MAXIMUM_LENGTH)
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
            listening.bind(address.text)
            listening.listen()
            self.assertTrue(deep.exists())
            client.connect(address.text)
        before = len(os.listdir("/proc/self/fd"))
        address.close()
        address.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)

    def test_absent(self) -> None:
        """
        A long name in a directory that is not there is an error of ours.
        """
        self.assertRaises(StateError, SocketAddress, Path("/nonexistent") / ("d" * 120) / "s")
