"""
The programs in the guides do what the guides show.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import network
from atmosphere.network import nat, relay
from tests.end_to_end.harness import ROOT, EndToEndTestCase, Relay

NETWORK = ROOT / "atmosphere" / "network" / "README.md"
UPGRADE = ROOT / "docs" / "UPGRADE.md"

PYTHON = Path(sys.executable).name

#: The ports of the guides, of which others may have some here.
UDP_PORTS = ("7777", "7778")
TCP_PORTS = ("8080",)
STUN_PORT = "3478"


def programs(page: Path) -> list[tuple[str, str | None]]:
    """
    Take the programs out of a page, and what each is said to print.
    """
    blocks = re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL)
    found: list[tuple[str, str | None]] = []
    for kind, text in blocks:
        if kind == "python":
            found.append((text, None))
        elif kind == "text" and found and found[-1][1] is None:
            found[-1] = (found[-1][0], text)
    return found


def free_ports(count: int) -> list[dict[str, str]]:
    """
    Find ports that nobody has, for those of the guides: for each program others.
    """
    found: list[dict[str, str]] = []
    with ExitStack() as stack:
        for _ in range(count):
            found.append({})
            for numbers, kind in ((UDP_PORTS, socket.SOCK_DGRAM), (TCP_PORTS, socket.SOCK_STREAM)):
                for number in numbers:
                    one = stack.enter_context(socket.socket(type=kind))
                    one.bind(("127.0.0.1", 0))
                    found[-1][number] = str(one.getsockname()[1])
    return found


def arguments(function: Any) -> str:
    """
    Write the arguments of a function as the page does: without types and C{world}.
    """
    return ", ".join(
        each.name if each.default is Parameter.empty else f"{each.name}={each.default!r}"
        for each in signature(function).parameters.values()
        if each.name not in ("self", "world") and each.kind is not Parameter.VAR_KEYWORD
    )


class ProgramTests(EndToEndTestCase):
    """
    The programs, each in a process of its own.
    """

    def run_all(self, page: Path) -> None:
        """
        Run the programs of a page at the same time, and compare what they print.
        """
        running = []
        stun_port = str(Relay(self).stun_port)
        found = programs(page)
        for number, ports in enumerate(free_ports(len(found))):
            text, wanted = found[number]
            for page_port, port in {**ports, STUN_PORT: stun_port}.items():
                text = text.replace(page_port, port)
                wanted = None if wanted is None else wanted.replace(page_port, port)
            path = self.folder / f"{page.stem}{number}.py"
            path.write_text(text)
            running.append((self.start(PYTHON, str(path)), wanted))
        self.assertGreater(len(running), 0)
        for program, wanted in running:
            ended = program.wait()
            self.assertEqual((ended.err, ended.out, ended.status), ("", wanted or "", 0))

    def test_network(self) -> None:
        """
        The page of the network package.
        """
        self.run_all(NETWORK)

    def test_upgrade(self) -> None:
        """
        The page for those who had the original.
        """
        self.run_all(UPGRADE)


class PageTests(SynchronousTestCase):
    """
    What the pages name is there.
    """

    def rows(self) -> Iterator[tuple[str, str]]:
        """
        Give the calls at the beginning of the rows of the network package's tables.
        """
        for row in re.findall(
            r"^\| (`.*?`)(?: of it| of a connection)? \| ", NETWORK.read_text(), re.M
        ):
            yield from re.findall(r"`(\w+)\((.*?)\)`", row)

    def test_signatures(self) -> None:
        """
        Every call has the arguments that the page shows.
        """
        places = (
            *(network, nat, network.NATTraversal, network.RelayClient, network.RelayServer),
            *(network.RelaySession, nat.PeerConnection),
        )
        checked = 0
        for name, shown in self.rows():
            found = {arguments(getattr(each, name)) for each in places if hasattr(each, name)}
            self.assertIn(shown, found, name)
            checked += 1
        self.assertGreater(checked, 20)

    def test_all_names(self) -> None:
        """
        Every name of the package is on its page.
        """
        text = NETWORK.read_text()
        for name in (*network.__all__, *relay.__all__, *nat.__all__):
            self.assertTrue(name in text, name)

    def test_links(self) -> None:
        """
        Every link of the guides leads somewhere.
        """
        pages = (NETWORK, *(ROOT / "docs").glob("*.md"), ROOT / "README.md")
        for page in pages:
            for link, anchor in re.findall(r"\]\(([^):#]*)#?([^):]*)\)", page.read_text()):
                target = (page.parent / link).resolve() if link else page
                self.assertTrue(target.exists(), f"{page.name}: {link}")
                if anchor and target.suffix == ".md":
                    self.assertIn(anchor, anchors(target), f"{page.name}: {link}#{anchor}")


def anchors(page: Path) -> set[str]:
    """
    List the anchors of a page's headings, as the usual renderers make them.
    """
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.M):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.strip().replace(" ", "-"))
    return found
