# -*- test-case-name: tests.cli.test_install -*-
"""
What C{atmosphere install} puts into a unit: found out from the options, this
machine, and how the program was started.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from atmosphere.errors import ConfigurationError

from .options import Command, Settings
from .systemd_unit import UnitPlan, credential

__all__ = ["find_program", "make_plan"]

SYSTEM_STATE = Path("/var/lib/atmosphere")

_FILE_OPTIONS = ("--cert", "--key", "--relay-ca")
_SECRET_OPTIONS = ("--cert", "--key")
_HOMES = ("/home", "/root", "/run/user")
_STATE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
_RUN = "from atmosphere.cli import main; main()"


def find_program(started_as: str, scripts: str) -> tuple[str, ...]:
    """
    Find the program by a path that holds wherever it is started from.

    @param started_as: the first word of this process's command line.
    @param scripts: where this Python's programs are installed.
    """
    for candidate in (started_as, os.path.join(scripts, "atmosphere")):
        path = Path(candidate).absolute()
        if path.name == "atmosphere" and path.is_file() and os.access(path, os.X_OK):
            return (str(path),)
    return (str(Path(sys.executable).absolute()), "-P", "-c", _RUN)


def with_whole_names(arguments: Sequence[str]) -> list[str]:
    """
    Name files so that they are found whatever directory a service starts in.
    """
    found = []
    is_file = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if is_file:
            argument = os.path.abspath(os.path.expanduser(argument))
        elif equals and name in _FILE_OPTIONS:
            found.append(name)
            argument = os.path.abspath(os.path.expanduser(value))
        is_file = not is_file and argument in _FILE_OPTIONS
        found.append(argument)
    return found


def with_credentials(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """
    Have the files that only root can read handed over by systemd.

    @param arguments: of L{with_whole_names}.
    @return: the arguments that name what is handed over, and which files that is.
    @raise ConfigurationError: a name that a unit cannot quote: the rest of it would be
        read as settings.
    """
    found: list[str] = []
    credentials = {}
    for argument in arguments:
        if found and found[-1] in _SECRET_OPTIONS:
            if not argument.isprintable() or argument.endswith(("\\", " ")):
                raise ConfigurationError(f"{argument[:200]!a} cannot stand in a unit: rename it")
            name = f"{found[-1].strip('-')}.pem"
            credentials[name] = argument
            argument = credential(name)
        found.append(argument)
    return found, credentials


def closed_to_others(paths: Iterable[Path]) -> Path | None:
    """
    Find a file or directory on the way to some that other users cannot reach.
    """
    for path in paths:
        for each in (path, *path.parents):
            try:
                mode = each.stat().st_mode
            except OSError:
                return each
            needed = stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
            if not mode & needed:
                return each
    return None


def _program_paths(program: Sequence[str]) -> list[Path]:
    """
    List what has to be reached to run the program.
    """
    import atmosphere

    own = Path(atmosphere.__file__)
    real = Path(sys.executable).resolve()
    return [Path(program[0]), Path(program[0]).resolve(), Path(sys.prefix), real, own]


def _is_in_home(paths: Iterable[Path]) -> bool:
    """
    Say whether some of the paths are in home directories.
    """
    return any(str(path).startswith(f"{home}/") for path in paths for home in _HOMES)


def _check_options(
    context: click.Context, options: Sequence[str], *, is_relay: bool
) -> tuple[dict[str, Any], list[str]]:
    """
    Read the options of C{serve} or C{relay} as that command will.

    @return: what they say, and the variables that say something here and will
        not in a service.
    @raise click.UsageError: they do not fit.
    """
    role: Command
    if is_relay:
        from .relay import relay as role
    else:
        from .serve import serve as role
    if options and not options[0].startswith("-"):
        hint = f"; a relay for the node to use is named by `-- --relay {options[0]}`"
        raise click.UsageError(
            f"{options[0]!r} is no option" + (hint if "://" in options[0] else ""), context
        )
    name = role.name or ""
    inner = role.make_context(name, list(options), parent=context.parent)
    unseen = set()
    for each in role.params:
        source = inner.get_parameter_source(each.name or "")
        if source is click.core.ParameterSource.ENVIRONMENT and each.envvar:
            known = [each.envvar] if isinstance(each.envvar, str) else each.envvar
            unseen |= {variable for variable in known if os.environ.get(variable)}
    if not is_relay and os.environ.get("ATMOSPHERE_RELAY_URL"):
        unseen.add("ATMOSPHERE_RELAY_URL")
    said = {
        each.name: inner.params[each.name]
        for each in role.params
        if each.name in inner.params
        and inner.get_parameter_source(each.name) is click.core.ParameterSource.COMMANDLINE
    }
    return said, sorted(unseen)


def _find_state(settings: Settings, *, is_system: bool, user: str | None) -> Path:
    """
    Choose the node's state directory.

    @raise ConfigurationError: no such user.
    """
    if settings.names_state or not is_system:
        state = settings.state.absolute()
    elif user is not None:
        import pwd

        try:
            state = Path(pwd.getpwnam(user).pw_dir) / ".atmosphere"
        except KeyError:
            raise ConfigurationError(f"there is no user {user[:80]!a}") from None
    else:
        state = SYSTEM_STATE
    if not str(state).isprintable():
        raise ConfigurationError(f"{str(state)!a} cannot stand in a unit: choose another --state")
    return state


def _state_name(state: Path) -> str | None:
    """
    Say how systemd calls a state directory that it can make and hand over.
    """
    try:
        name = str(state.relative_to("/var/lib"))
    except ValueError:
        return None
    return name if _STATE_NAME.fullmatch(name) and not name.startswith("private/") else None


def _node_ports(said: dict[str, Any], state: Path, *, is_strict: bool) -> list[int | None]:
    """
    Check the options of a node against its settings, and say which port it binds.

    @raise ConfigurationError: an option does not fit, or there is no node.
    """
    from atmosphere.errors import StateError
    from atmosphere.node.config import NodeConfig, with_options
    from atmosphere.node.program import program_for
    from atmosphere.node.store import NodeStore

    from .sources import wall

    settings = NodeConfig("node")
    try:
        if NodeStore.exists(state):
            with NodeStore.peek(state, wall=wall) as store:
                settings = store.settings
        elif is_strict:
            raise ConfigurationError(
                f"there is no node in {state}: make one with `{program_for(state)} init`"
            )
    except StateError:
        if is_strict:
            raise
    return [with_options(settings, **said).udp_port]


def _relay_ports(said: dict[str, Any]) -> list[int | None]:
    """
    Check the options of a relay, and say which ports it binds.

    @raise ConfigurationError: an option does not fit.
    """
    from atmosphere.node.relay_options import relay_config

    config = relay_config(**said)
    return [config.port, config.stun_port, config.second_stun_port]


def _check_user(user: str | None, *, is_system: bool) -> None:
    """
    Check as whom to run.

    @raise ConfigurationError: it cannot be.
    """
    if user is None:
        return
    if not is_system:
        raise ConfigurationError("--user goes with --system: without it the service is your own")
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ConfigurationError(f"there is no user {user[:80]!a}") from None


def make_plan(
    context: click.Context,
    settings: Settings,
    options: Sequence[str],
    *,
    is_system: bool,
    is_relay: bool,
    user: str | None,
    is_strict: bool,
) -> tuple[UnitPlan, list[str]]:
    """
    Plan a unit.

    @param options: for C{serve} or C{relay}.
    @param is_strict: whether it must be able to run on this machine.
    @return: the plan, and warnings for people.
    @raise ConfigurationError: it cannot be.
    """
    _check_user(user, is_system=is_system)
    said, unseen = _check_options(context, options, is_relay=is_relay)
    arguments = with_whole_names(options)
    warnings = [
        f"{name} is set here, but a service does not see it: pass the option" for name in unseen
    ]
    state = None if is_relay else _find_state(settings, is_system=is_system, user=user)
    state_name = None if state is None or not is_system else _state_name(state)
    if state is not None and is_system and user is None and state_name is None:
        raise ConfigurationError(
            f"{state} is not below /var/lib: say with --user whose it is, or leave --state out"
        )
    ports = _relay_ports(said) if state is None else _node_ports(said, state, is_strict=is_strict)
    has_low_port = any(port is not None and 0 < port < 1024 for port in ports)
    if has_low_port and not is_system:
        warnings.append("a port below 1024 is not for a user's service: use --system")
    program = find_program(sys.argv[0], sysconfig.get_path("scripts"))
    needed = _program_paths(program)
    if is_system and user is None:
        closed = closed_to_others(needed)
        if closed is not None:
            text = (
                f"the service runs as a user of its own, and {closed} is closed to that one:"
                " install atmosphere where all may read it, such as /opt, or name a user by --user"
            )
            if is_strict:
                raise ConfigurationError(text)
            warnings.append(text)
    credentials: dict[str, str] = {}
    if is_system:
        arguments, credentials = with_credentials(arguments)
    before = ["relay"] if state is None else ["--state", str(state), "serve"]
    paths = [*needed, *([] if state is None else [state])]
    plan = UnitPlan(
        is_relay=is_relay,
        is_system=is_system,
        program=program,
        arguments=(*before, *arguments),
        state=None if state is None else str(state),
        user=user,
        state_name=state_name,
        has_low_port=has_low_port,
        sees_homes=_is_in_home([*paths, *map(Path, arguments)]),
        credentials=credentials,
    )
    return plan, warnings
