# -*- test-case-name: tests.lab.test_namespaces -*-
"""
Network namespaces that have no names: each lasts as long as somebody holds it open,
so that nothing is left behind, however a laboratory ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache

from atmosphere.errors import AtmosphereError

__all__ = ["LabError", "Namespace", "die_with_parent", "enter", "missing"]

#: Seconds that a command of the system may take.
PATIENCE = 20.0

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_NETLINK_NETFILTER = 12

_OWN = "/proc/thread-self/ns/net"


class LabError(AtmosphereError):
    """
    A laboratory cannot be made, or is not what it should be.
    """


@cache
def _library() -> ctypes.CDLL:
    """
    Find the C library, once: not in a process that was just forked.
    """
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: int) -> None:
    """
    Call the C library, where this Python does not know the function.

    @raise OSError: the system refuses.
    """
    if getattr(_library(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def die_with_parent() -> None:
    """
    Have the system kill this process when the one that started it is gone.
    """
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


@contextlib.contextmanager
def enter(path: str) -> Iterator[None]:
    """
    Have this thread be in a network namespace for a while.

    @param path: a file that stands for it.
    """
    with _opened(_OWN) as own, _opened(path) as there:
        _call("setns", there, _CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", own, _CLONE_NEWNET)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """
    Open a file for a while.
    """
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


class Namespace:
    """
    A network of its own: one machine of a laboratory.

    @ivar name: what it is called in error messages.
    """

    def __init__(self, name: str) -> None:
        """
        @raise OSError: we may not make one.
        """
        self.name = name
        with _opened(_OWN) as own:
            _call("unshare", _CLONE_NEWNET)
            try:
                self._file = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _call("setns", own, _CLONE_NEWNET)
        self.ip("link", "set", "lo", "up")

    @property
    def path(self) -> str:
        """
        The file that stands for it, for as long as this process holds it.
        """
        return f"/proc/{os.getpid()}/fd/{self._file}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """
        What stands before a command that is to run there.
        """
        return ("nsenter", f"--net={self.path}", "--")

    def run(self, *command: str, stdin: str = "") -> str:
        """
        Run a command there that has to succeed.

        @return: what it printed.
        @raise LabError: it failed.
        """
        try:
            done = subprocess.run(
                (*self.prefix, *command),
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                timeout=PATIENCE,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise LabError(f"{self.name}: {' '.join(command)}: {said.strip()[:300]}") from None
        return done.stdout

    def ip(self, *arguments: str) -> None:
        """
        Have iproute2 change something there.
        """
        self.run("ip", *arguments)

    def set(self, name: str, value: int) -> None:
        """
        Change a setting of the kernel's below C{/proc/sys/net}, which each has for itself.
        """
        try:
            with enter(self.path), open(f"/proc/sys/net/{name}", "w") as file:
                file.write(str(value))
        except OSError as error:
            raise LabError(f"{self.name}: {name}: {error.strerror}") from None

    def load_rules(self, rules: str) -> None:
        """
        Put nftables rules into force, in place of all that were.
        """
        self.run("nft", "-f", "-", stdin=f"flush ruleset\n{rules}")

    def forget_connections(self) -> None:
        """
        Have the NAT there forget all mappings, as one that was switched off and on.
        """
        with enter(self.path):
            netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        with netlink:
            kind, flags = (1 << 8) | 2, 5  # IPCTNL_MSG_CT_DELETE; NLM_F_REQUEST | NLM_F_ACK
            netlink.settimeout(PATIENCE)
            netlink.sendto(struct.pack("=IHHIIBBH", 20, kind, flags, 1, 0, 0, 0, 0), (0, 0))
            (number,) = struct.unpack_from("=i", netlink.recv(4096), 16)
        if number:
            raise LabError(f"{self.name}: mappings are kept: {os.strerror(-number)}")

    def close(self) -> None:
        """
        Let go of it: it ends with the last program that runs there.
        """
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def missing(programs: Sequence[str] = ("ip", "nft", "nsenter")) -> str | None:
    """
    Say what this machine lacks for a laboratory, and what would help.

    @param programs: those of the system that are needed; without C{nft} for plain
        namespaces alone.
    @return: one line, or C{None} if nothing is missing.
    """
    if not sys.platform.startswith("linux"):
        return "laboratories need Linux: they are made of its network namespaces"
    if os.geteuid() != 0:
        return "laboratories need root: try again with sudo"
    packages = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"}
    absent = [each for each in programs if shutil.which(each) is None]
    if absent:
        wanted = " ".join(packages.get(each, each) for each in absent)
        return f"{' and '.join(absent)} not found: install {wanted}"
    try:
        probe = Namespace("probe")
    except (OSError, LabError) as error:
        return f"network namespaces cannot be made here: {error}"
    try:
        if "nft" in programs:
            probe.load_rules(
                "table ip t { chain c { type nat hook postrouting priority 100; masquerade; }; }\n"
            )
    except LabError as error:
        return f"this kernel has no NAT for us: {error}"
    finally:
        probe.close()
    if "nft" in programs and not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun: load the kernel's module tun"
    if "nft" in programs and not os.path.exists("/proc/net/if_inet6"):
        return "IPv6 is switched off in this kernel"
    return None
