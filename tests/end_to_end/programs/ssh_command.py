"""
Runs a command by SSH, with Twisted's Conch: ENDPOINT USER PASSWORD COMMAND.
"""

import sys

from twisted.conch.ssh import channel, common, connection, keys, transport, userauth
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory
from twisted.internet.task import react


class Command(channel.SSHChannel):
    """
    Runs the command.
    """

    name = b"session"

    def channelOpen(self, data: bytes) -> None:  # noqa: N802, Conch's name
        """
        Ask for it.
        """
        command = self.conn.transport.command.encode("utf-8")
        self.conn.sendRequest(self, "exec", common.NS(command), wantReply=True)

    def dataReceived(self, data: bytes) -> None:
        """
        Print what it prints.
        """
        sys.stdout.write(data.decode("utf-8"))

    def request_exit_status(self, data: bytes) -> None:
        """
        Note how it ended.
        """
        self.status = int.from_bytes(data, "big")

    def closed(self) -> None:
        """
        It is over.
        """
        sys.stdout.write(f"status {self.status}\n")
        self.conn.transport.over.callback(None)
        self.loseConnection()


class Connection(connection.SSHConnection):
    """
    The connection of a user who is known.
    """

    def serviceStarted(self) -> None:  # noqa: N802, Conch's name
        """
        Open the channel.
        """
        super().serviceStarted()
        self.openChannel(Command(conn=self))


class Password(userauth.SSHUserAuthClient):
    """
    Shows a password.
    """

    password = b""

    def getPassword(self, prompt: object = None) -> Deferred[bytes]:  # noqa: N802
        """
        Hand it out.
        """
        return succeed(self.password)

    def getPublicKey(self) -> None:  # noqa: N802, Conch's name
        """
        There is none.
        """
        return None


class Client(transport.SSHClientTransport):
    """
    The client's side of SSH.
    """

    user = password = command = ""
    over: Deferred[None]

    def verifyHostKey(self, key: bytes, fingerprint: bytes) -> Deferred[bool]:  # noqa: N802
        """
        Take any key that is one: the stream has proven who is there.
        """
        keys.Key.fromString(key)
        return succeed(True)

    def connectionSecure(self) -> None:  # noqa: N802, Conch's name
        """
        Say who we are.
        """
        asker = Password(self.user.encode("utf-8"), Connection())
        asker.password = self.password.encode("utf-8")
        self.requestService(asker)


async def run(reactor: IReactorTime, endpoint: str, user: str, password: str, command: str) -> None:
    """
    Run the command to its end.
    """

    def build() -> Client:
        client = Client()
        client.user, client.password, client.command = user, password, command
        client.over = Deferred()
        return client

    client = await clientFromString(reactor, endpoint).connect(Factory.forProtocol(build))
    await client.over
    client.transport.loseConnection()


def main(reactor: IReactorTime, *arguments: str) -> Deferred[None]:
    """
    Do it.
    """
    return Deferred.fromCoroutine(run(reactor, *arguments))


if __name__ == "__main__":
    react(main, sys.argv[1:])
