"""
Tests for L{atmosphere.node.forwarding}: what can be asked for, and what is kept.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Factory, Protocol

from atmosphere.errors import (
    ConfigurationError,
    JoinError,
    ListenError,
    NotRunningError,
    StreamRefusedError,
)
from atmosphere.services.forward import target_endpoint

from .test_forwarding import SSH, ForwardingCase
from .test_streaming import Recorders


class SettingsTests(ForwardingCase):
    """
    What can be asked for, and what is kept.
    """

    def test_wrong(self) -> None:
        """
        What cannot work is refused by name.
        """
        wrong: list[dict[str, Any]] = [
            {"service": "a/b"},
            {"service": "atmosphere.ping"},
            {"target": "127.0.0.1:22"},
            {"target": "tcp:host=127.0.0.1"},
        ]
        for more in wrong:
            with self.assertRaises(ConfigurationError):
                self.expose(**more)
        with self.assertRaises(ConfigurationError):
            self.portland.service.expose(service="ssh", target=SSH, to=[], keep=False)
        self.portland.service.listen("www", Recorders())
        with self.assertRaises(ListenError):
            self.expose(service="www")
        with self.assertRaises(ConfigurationError):
            self.portland.service.unexpose("ssh")
        for listen in ("x", "host:22", "127.0.0.1:99999", "unix:relative", "127.0.0.1:-1", ""):
            with self.assertRaises(ConfigurationError):
                self.forward(listen)
        with self.assertRaises(ConfigurationError):
            self.forward(peer="tacoma")
        self.forward("2222")
        with self.assertRaises(ConfigurationError):
            self.forward("localhost:2222")
        with self.assertRaises(ConfigurationError):
            self.seattle.service.unforward("2222")  # it was not kept
        self.seattle.host.listenTCP(2223, Factory(), interface="127.0.0.1")
        with self.assertRaises(ListenError):
            self.forward("2223")
        lonely = self.world.node("lonely", "198.51.100.9")
        with self.assertRaises(JoinError):
            self.expose(node=lonely)

    def test_kept(self) -> None:
        """
        What is kept is there again after a restart, and what is not is gone.
        """
        self.serve()
        self.expose(keep=True)
        self.expose("seattle", service="www")
        answer = self.world.result(self.forward("2222", keep=True))
        self.assertEqual(answer["listen"], "127.0.0.1:2222")
        self.forward("2223")
        for node in (self.portland, self.seattle):
            node.kill()
            self.world.network.advance(1)
            node.restart()
        self.serve()
        self.world.until(lambda: self.seattle.is_linked(self.portland), 120)
        (exposed,) = self.portland.service.service_list()["exposed"]
        (forwarded,) = self.seattle.service.service_list()["forwards"]
        self.assertEqual((exposed["service"], exposed["to"]), ("ssh", ["seattle"]))
        self.assertEqual((forwarded["listen"], forwarded["keep"]), ("127.0.0.1:2222", True))
        self.client().transport.write(b"x")
        self.world.until(lambda: self.portland.service.service_list()["exposed"][0]["open"])
        self.portland.service.unexpose("ssh")
        self.seattle.service.unforward("2222")
        for node in (self.portland, self.seattle):
            node.kill()
            node.restart()
            lists = node.service.service_list()
            self.assertEqual(lists, {"exposed": [], "forwards": []})

    def test_other_mesh(self) -> None:
        """
        What was exposed to members of one mesh is not open to those of another
        that happen to be called the same.
        """
        self.serve()
        self.expose(keep=True)
        self.world.result(self.portland.service.leave())
        self.world.result(self.seattle.service.leave())
        self.world.join(self.portland, self.seattle)
        self.world.until(lambda: self.seattle.is_linked(self.portland))
        text = self.failure(
            self.seattle.service.open("portland", "ssh", Factory()), StreamRefusedError
        )
        self.assertIn("not open to seattle", text)

    def test_port_taken_at_start(self) -> None:
        """
        A forward whose port is taken when the node starts says so, and the node runs.
        """
        self.world.result(self.forward("2222", keep=True))
        self.seattle.kill()
        self.seattle.host.restart()
        self.seattle.host.listenTCP(2222, Factory(), interface="127.0.0.1")
        self.seattle.start()
        (forwarded,) = self.seattle.service.service_list()["forwards"]
        self.assertIn("cannot listen on 127.0.0.1:2222", forwarded["problem"])

    def test_stop(self) -> None:
        """
        A node that stops ends its forwards and says so to those who wait.
        """
        self.serve()
        self.expose()
        lasting = self.forward()
        client = self.client()
        self.world.network.advance(1)
        stopping = self.seattle.service.stopService()
        failure = self.failureResultOf(lasting)
        self.assertIsInstance(failure.value, NotRunningError)
        self.world.result(stopping)
        self.world.until(lambda: client.reasons)
        self.assertIsInstance(client.reasons[0], ConnectionLost | ConnectionAborted)
        refused = connectProtocol(target_endpoint(self.seattle.host, "2222"), Protocol())
        with self.assertRaises(Exception):  # noqa: B017, whatever the host says
            self.world.result(refused)
