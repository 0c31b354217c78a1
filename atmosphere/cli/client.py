# -*- test-case-name: tests.cli.test_client -*-
"""
The command line's end of the local API: plain blocking HTTP on a UNIX socket.

No reactor and no Twisted: a command is done before they were imported.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typing_extensions import override

from atmosphere.errors import AtmosphereError, DecodeError, NotRunningError, StateError
from atmosphere.node.program import program_for
from atmosphere.node.strict_json import decode_json
from atmosphere.services.local_socket import SOCKET_NAME, SocketAddress

__all__ = ["LocalClient", "NodeError"]

MAXIMUM_ANSWER = 64 * 1024 * 1024
MAXIMUM_LINE = 16 * 1024 * 1024


class NodeError(AtmosphereError):
    """
    What the node answered instead of a result.

    @ivar exit_code: the status that it named.
    """

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _Connection(http.client.HTTPConnection):
    """
    HTTP over a UNIX socket.
    """

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    @override
    def connect(self) -> None:
        """
        Connect to the node.
        """
        address = SocketAddress(self._path)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(address.text)
        finally:
            address.close()


class LocalClient:
    """
    Asks the node that runs on a state directory.
    """

    def __init__(self, state: Path) -> None:
        """
        @param state: the state directory.
        """
        self._state = state

    def get(self, path: str, *, timeout: float = 30.0) -> dict[str, Any]:
        """
        Read something.

        @raise NotRunningError: there is no running node.
        @raise NodeError: the node refused.
        """
        return self._last("GET", path, None, timeout)

    def post(
        self, path: str, arguments: dict[str, Any] | None = None, *, timeout: float = 30.0
    ) -> dict[str, Any]:
        """
        Have something done; errors as for L{get}.
        """
        return self._last("POST", path, arguments or {}, timeout)

    def _last(
        self, method: str, path: str, arguments: dict[str, Any] | None, timeout: float
    ) -> dict[str, Any]:
        """
        Ask, and hand on the last line of the answer.
        """
        *_, answer = self.stream(method, path, arguments, timeout=timeout)
        return answer

    def is_running(self) -> bool:
        """
        Say whether a node answers.
        """
        try:
            self.get("/v1/status", timeout=5)
        except NotRunningError:
            return False
        return True

    def stream(
        self,
        method: str,
        path: str,
        arguments: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Iterator[dict[str, Any]]:
        """
        Ask, and hand on each line of the answer as it comes.

        @param timeout: the longest silence, in seconds.
        @raise NotRunningError: there is no running node, or it went away before its last
            line, which alone has a C{version}.
        @raise NodeError: the node refused, at once or in its last line.
        """
        connection = _Connection(self._state / SOCKET_NAME, timeout)
        opened = contextlib.ExitStack()
        opened.callback(connection.close)
        try:
            self._request(connection, method, path, arguments)
            response = opened.enter_context(connection.getresponse())
            is_whole = False
            total = 0
            while line := response.readline(MAXIMUM_LINE + 1):
                total += len(line)
                if total > MAXIMUM_ANSWER:
                    raise DecodeError("an endless answer")
                if not line.endswith(b"\n") and len(line) <= MAXIMUM_LINE:
                    break
                answer = self._decode(line)
                is_whole = "version" in answer
                yield answer
            if not is_whole:
                raise NotRunningError(self._loss())
        except TimeoutError:
            raise NotRunningError(
                f"the node did not answer within {timeout:g} s: its log may say why"
            ) from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError):
            raise NotRunningError(self._loss()) from None
        except (DecodeError, http.client.HTTPException) as error:
            raise NotRunningError(f"the node gave no proper answer: {error!r}"[:300]) from None
        finally:
            opened.close()  # the response too, or the node would not see us leave

    def _request(
        self, connection: _Connection, method: str, path: str, arguments: dict[str, Any] | None
    ) -> None:
        """
        Send a request.
        """
        body = None if arguments is None else json.dumps(arguments)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError, StateError):
            raise NotRunningError(self._absence()) from None
        except PermissionError:
            raise NotRunningError(
                f"the node in {self._state} belongs to another user: run this command as that one"
            ) from None

    def _loss(self) -> str:
        """
        Say what to do when the node went away in the middle.
        """
        return (
            "the node stopped before it had answered in full: start it again with"
            f" `{program_for(self._state)} serve`, then repeat this command"
        )

    def _absence(self) -> str:
        """
        Say what to do when nobody answers.
        """
        state = self._state
        program = program_for(state)
        if not any(state.glob("node.key*")):  # also one that is damaged, as `serve` will say
            return (
                f"there is no node in {state}: make one with `{program} init`,"
                f" then start it with `{program} serve`"
            )
        return f"no running node: start one with `{program} serve`"

    @staticmethod
    def _decode(line: bytes) -> dict[str, Any]:
        """
        Read one line.

        @raise NodeError: it is an error.
        @raise DecodeError: it is no JSON object.
        """
        answer = decode_json(line, maximum_length=MAXIMUM_LINE, maximum_depth=16)
        if not isinstance(answer, dict):
            raise DecodeError("an answer that is no object")
        if "error" in answer and "exit_code" in answer:
            code = answer["exit_code"]
            raise NodeError(str(answer["error"]), code if isinstance(code, int) else 1)
        return answer
