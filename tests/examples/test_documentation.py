"""
The page about embedding says what is so.
"""

from __future__ import annotations

import re
from inspect import signature

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError, LinkError, StreamRefusedError
from atmosphere.membership import Membership
from atmosphere.node import embed, events
from atmosphere.node.config import NodeConfig
from atmosphere.node.service import NodeService
from tests.end_to_end.harness import ROOT

DOCS = ROOT / "docs"

PAGE = DOCS / "EMBEDDING.md"


class PageTests(SynchronousTestCase):
    """
    C{docs/EMBEDDING.md}.
    """

    def test_code(self) -> None:
        """
        What is shown as Python compiles, and names only what is there.
        """
        text = PAGE.read_text()
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        self.assertGreater(len(blocks), 2)
        for block in blocks:
            compile(block, str(PAGE), "exec")
            for line in re.findall(r"^from atmosphere.*", block, re.MULTILINE):
                exec(line, {})
        for method in re.findall(r"\bnode\.(\w+)\(", text):
            self.assertTrue(hasattr(NodeService, method), method)

    def test_arguments(self) -> None:
        """
        The arguments, events, errors and fields that the page names are those that are there.
        """
        text = PAGE.read_text()
        options = set(embed.NodeOptions.__annotations__)
        for name in ("udp_port", "interfaces", "stun", "advertise", "allow_loopback"):
            self.assertIn(f"`{name}`", text)
            self.assertIn(name, options)
        self.assertTrue({"name", "relays"} <= set(signature(embed.make_node).parameters))
        for event in ("PeerCame", "PeerWent", "PathMoved"):
            self.assertIn(f"`{event}`", text)
            self.assertTrue(hasattr(events, event))
        for error in (ConfigurationError, LinkError, StreamRefusedError):
            self.assertRegex(text, rf"`{error.__name__}` .* {error.exit_code} \|")
        for field in ("node", "name", "roles", "not_after"):
            self.assertTrue(hasattr(Membership, field), field)

    def test_options_are_settings(self) -> None:
        """
        Whatever a node can be told by its settings, C{make_node} can be told.
        """
        renamed = {"stun_servers": "stun", "public_stun": "no_public_stun"}
        settings = {renamed.get(name, name) for name in NodeConfig.__dataclass_fields__}
        settings.remove("fallback_relays")  # which is what the user did not say
        arguments = set(signature(embed.make_node).parameters)
        self.assertEqual(settings - arguments, set(embed.NodeOptions.__annotations__))

    def test_examples(self) -> None:
        """
        Every example is on the page, and every link of the page leads somewhere.
        """
        links = set(re.findall(r"\]\(([^):]+)\)", PAGE.read_text()))
        for link in links:
            self.assertTrue((DOCS / link).exists(), link)
        for path in (DOCS / "examples").iterdir():
            if path.suffix in (".py", ".tac"):
                self.assertIn(f"examples/{path.name}", links)
