"""
Tests for L{atmosphere.cli.systemd_unit}: its text, and what systemd says of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from atmosphere.cli.systemd_unit import (
    UnitPlan,
    credential,
    encode_unit,
    is_ours,
    quote,
    state_of,
)

PROGRAM = (sys.executable,)

NODE = UnitPlan(
    is_relay=False,
    is_system=True,
    program=PROGRAM,
    arguments=("--state", "/var/lib/atmosphere", "serve", "--name=50% of $HOME"),
    state="/var/lib/atmosphere",
    state_name="atmosphere",
)
RELAY = UnitPlan(
    is_relay=True,
    is_system=True,
    program=PROGRAM,
    arguments=("relay", "--port", "443", "--key", credential("key.pem")),
    has_low_port=True,
    credentials={"key.pem": "/etc/tls/100% mine.pem"},
)
USERS = UnitPlan(
    is_relay=False,
    is_system=False,
    program=PROGRAM,
    arguments=("--state", "/srv/my state", "serve"),
    state="/srv/my state",
)
OTHERS = UnitPlan(
    is_relay=False,
    is_system=True,
    program=PROGRAM,
    arguments=("--state", "/srv/state", "serve"),
    state="/srv/state",
    user="root",
    sees_homes=True,
)

#: The exposure that `systemd-analyze security` may find, in tenths: 0 is best, 100 none at all.
EXPOSURE = {NODE.name: (NODE, 20), RELAY.name: (RELAY, 24)}


class TextTests(SynchronousTestCase):
    """
    What is written.
    """

    def test_quoted(self) -> None:
        """
        Whatever stands in an argument is one word to systemd, and no more than that.
        """
        for text, written in {
            "--port=8080": "--port=8080",
            "": '""',
            "a b": '"a b"',
            "50%": "50%%",
            "$HOME": "$$HOME",
            'say "x"': '"say \\"x\\""',
            "a\\b": '"a\\\\b"',
            "a\nb": '"a\\x0ab"',
            ";": '";"',
            "über": '"über"',
        }.items():
            self.assertEqual(quote(text), written)
        self.assertEqual(quote("/a$b", has_variables=False), "/a$b")

    def test_node(self) -> None:
        """
        A node of the system has a user and a state directory that systemd makes.
        """
        lines = encode_unit(NODE).splitlines()
        self.assertIn(
            f'ExecStart={sys.executable} --state /var/lib/atmosphere serve "--name=50%% of $$HOME"',
            lines,
        )
        for line in (
            *("Type=notify", "Restart=on-failure", "DynamicUser=yes", "StateDirectory=atmosphere"),
            *("StateDirectoryMode=0700", "ProtectHome=yes", "CapabilityBoundingSet="),
            *("PrivateUsers=yes", "PrivateTmp=yes", "WantedBy=multi-user.target"),
        ):
            self.assertIn(line, lines)

    def test_relay(self) -> None:
        """
        A relay on port 443 may bind that and nothing more; its key is handed over by systemd.
        """
        text = encode_unit(RELAY)
        self.assertIn("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n", text)
        self.assertIn("\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n", text)
        self.assertNotIn("PrivateUsers", text)
        self.assertIn("\nLoadCredential=key.pem:/etc/tls/100%% mine.pem\n", text)
        self.assertIn(" --key ${CREDENTIALS_DIRECTORY}/key.pem\n", text)
        self.assertNotIn("StateDirectory", text)
        self.assertIsNone(state_of(text))

    def test_user(self) -> None:
        """
        A user's unit may write the state directory, and asks for nothing that
        only the system's service manager can do.
        """
        text = encode_unit(USERS)
        self.assertIn('\nReadWritePaths="/srv/my state"\n', text)
        self.assertIn("\nWantedBy=default.target\n", text)
        for word in ("DynamicUser", "Capabilit", "PrivateDevices", "ProtectKernel", "network-"):
            self.assertNotIn(word, text)

    def test_families(self) -> None:
        """
        What may be opened is what a node needs: IP, its own sockets in the file system, and
        the one by which the kernel tells that interfaces have changed.
        """
        wanted = "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK"
        for plan in (NODE, RELAY, USERS, OTHERS):
            self.assertIn(wanted, encode_unit(plan).splitlines())

    def test_existing_user(self) -> None:
        """
        For an existing user, homes can be read if the program is in one.
        """
        text = encode_unit(OTHERS)
        for line in ("User=root", "ReadWritePaths=/srv/state", "ProtectHome=read-only"):
            self.assertIn(f"\n{line}\n", text)

    def test_temporary_state(self) -> None:
        """
        State below C{/tmp} is not hidden from the node by a C{/tmp} of its own.
        """
        plan = UnitPlan(False, False, PROGRAM, state="/tmp/state")
        self.assertNotIn("PrivateTmp", encode_unit(plan))

    def test_recognised(self) -> None:
        """
        What we wrote is recognised, with the state directory in it; nothing else is.
        """
        for plan in (NODE, RELAY, USERS, OTHERS):
            text = encode_unit(plan)
            self.assertTrue(is_ours(text))
            self.assertEqual(state_of(text), plan.state)
        self.assertFalse(is_ours("[Service]\nExecStart=/bin/true\n"))
        self.assertFalse(is_ours(""))


class SystemdTests(SynchronousTestCase):
    """
    What systemd itself says of the units.
    """

    def analyze(self, plan: UnitPlan, *arguments: str) -> str:
        """
        Have systemd look at a unit.

        @return: all that it says of it; it looks at other units of the machine too.
        """
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not installed")
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        file = directory / plan.name
        file.write_text(encode_unit(plan))
        done = subprocess.run(
            [program, *arguments, str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(directory)},
        )
        if "unrecognized option" in done.stdout or "Unknown command" in done.stdout:
            raise SkipTest("this systemd-analyze is too old")
        self.assertEqual(done.returncode, 0, f"{plan.name}: {done.stdout}")
        return "".join(line for line in done.stdout.splitlines(True) if plan.name in line)

    def test_verified(self) -> None:
        """
        Every line is one that systemd knows.
        """
        for plan in (NODE, RELAY, OTHERS):
            self.assertEqual(self.analyze(plan, "verify"), "")
        self.assertEqual(self.analyze(USERS, "--user", "verify"), "")

    def test_security(self) -> None:
        """
        The exposure that systemd finds is as low as we can have it.
        """
        for plan, most in EXPOSURE.values():
            self.analyze(plan, "security", "--offline=true", f"--threshold={most}")
