# -*- test-case-name: tests.cli.test_systemd_unit -*-
"""
The text of a systemd unit that runs a node or a relay for good.

Text in, text out. A service of the system is shut in as tightly as a program
of ours bears. One of a user gets what needs no privileges of the user's own
service manager: the rest of the list would keep it from starting on some systems,
and what mounts and namespaces do is left out silently where they are not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["UnitPlan", "encode_unit", "is_ours", "quote", "state_of"]

_MARK = "# Made by `atmosphere install`, which writes it anew; `atmosphere uninstall` removes it."
_ADVICE = "# Put changes of your own into a drop-in: systemctl {scope}edit {name}"
_STATE = "# State directory: "

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./$-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """
    What a unit is to run, and how.

    @ivar is_relay: whether it is a relay, which keeps no state, or a node.
    @ivar is_system: whether it is a service of the system, or of a user.
    @ivar program: the program by its absolute path, and arguments that are part of it.
    @ivar arguments: the arguments behind the program.
    @ivar state: the node's state directory.
    @ivar user: the user that a service of the system runs as; C{None} for one
        that systemd makes for it.
    @ivar state_name: the state directory's name below C{/var/lib} if systemd
        is to make it and hand it over.
    @ivar has_low_port: whether a port below 1024 is to be bound.
    @ivar sees_homes: whether something that it needs is in a home directory.
    @ivar credentials: files that only root can read and that the service gets
        to see: by name.
    """

    is_relay: bool
    is_system: bool
    program: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    state: str | None = None
    user: str | None = None
    state_name: str | None = None
    has_low_port: bool = False
    sees_homes: bool = False
    credentials: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """
        What the unit is called.
        """
        return "atmosphere-relay.service" if self.is_relay else "atmosphere.service"


def quote(text: str, *, has_variables: bool = True) -> str:
    """
    Write a text so that systemd reads it as one word and takes it as it is.

    @param has_variables: whether systemd would replace variables there.
    """
    text = text.replace("%", "%%")
    if has_variables:
        text = text.replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c) for c in escaped) + '"'


def _escape(character: str) -> str:
    """
    Write a character that cannot stand in a line.
    """
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _command(plan: UnitPlan) -> str:
    """
    Write the command line; a credential is named by a variable.
    """
    program, *rest = plan.program
    words = [quote(program, has_variables=False), *map(quote, rest)]
    for argument in plan.arguments:
        name = next((each for each in plan.credentials if argument == credential(each)), None)
        words.append(quote(argument) if name is None else argument)
    return " ".join(words)


def credential(name: str) -> str:
    """
    Say how a command line names a file that the service gets from root.
    """
    return f"${{CREDENTIALS_DIRECTORY}}/{name}"


def encode_unit(plan: UnitPlan) -> str:
    """
    Write a unit.
    """
    scope = "" if plan.is_system else "--user "
    lines = [_MARK, _ADVICE.format(scope=scope, name=plan.name)]
    if plan.state is not None:
        lines.append(f"{_STATE}{plan.state}")
    what = "relay" if plan.is_relay else "node"
    lines += ["", "[Unit]", f"Description=atmosphere {what}"]
    if plan.is_system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += [
        "",
        "[Service]",
        "Type=notify",
        f"ExecStart={_command(plan)}",
        "Restart=on-failure",
        "RestartSec=5",
        "RestartPreventExitStatus=2",
        "TimeoutStopSec=20",
        "",
        *_access(plan),
        "",
        *_for_all(),
        *(_for_system(plan) if plan.is_system else ()),
        "",
        "[Install]",
        f"WantedBy={'multi-user' if plan.is_system else 'default'}.target",
        "",
    ]
    return "\n".join(lines)


def _access(plan: UnitPlan) -> Iterator[str]:
    """
    Say as whom it runs and what it may write.
    """
    if plan.is_system:
        yield "DynamicUser=yes" if plan.user is None else f"User={quote(plan.user)}"
    for name, path in plan.credentials.items():
        yield f"LoadCredential={name}:{path.replace('%', '%%')}"
    if plan.state_name is not None:
        yield f"StateDirectory={plan.state_name}"
        yield "StateDirectoryMode=0700"
    yield "UMask=0077"
    yield "ProtectSystem=strict"
    if plan.state is not None and plan.state_name is None:
        yield f"ReadWritePaths={quote(plan.state, has_variables=False)}"
    if plan.is_system:
        yield f"ProtectHome={'read-only' if plan.sees_homes else 'yes'}"
    if plan.state is None or not plan.state.startswith(("/tmp/", "/var/tmp/")):
        yield "PrivateTmp=yes"


def _for_all() -> Sequence[str]:
    """
    Say what no program of ours needs, without privileges.
    """
    return (
        "NoNewPrivileges=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
    )


def _for_system(plan: UnitPlan) -> Iterator[str]:
    """
    Say what else a service of the system does without.
    """
    if plan.has_low_port:
        yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
        yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
    else:
        yield "CapabilityBoundingSet="
        yield "PrivateUsers=yes"
    yield from (
        "KeyringMode=private",
        "PrivateDevices=yes",
        "ProcSubset=pid",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        "RemoveIPC=yes",
    )


def is_ours(text: str) -> bool:
    """
    Say whether a unit is one that we wrote.
    """
    return text.startswith(f"{_MARK}\n")


def state_of(text: str) -> str | None:
    """
    Find the state directory in a unit that we wrote; C{None} for a relay's.
    """
    for line in text.splitlines():
        if line.startswith(_STATE):
            return line.removeprefix(_STATE)
    return None
