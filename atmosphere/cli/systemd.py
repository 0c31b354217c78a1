# -*- test-case-name: tests.cli.test_install -*-
"""
What C{install} and C{uninstall} ask of systemd, and where units are.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from atmosphere.errors import AtmosphereError, ConfigurationError, StateError

__all__ = [
    "ServiceManager",
    "ServiceManagerError",
    "check_rights",
    "remove_unit",
    "unit_path",
    "write_unit",
]

#: What `systemctl is-system-running` says of a manager that takes orders.
_RUNNING = frozenset({"initializing", "starting", "running", "degraded", "maintenance"})

_TIMEOUT = 120.0


class ServiceManagerError(AtmosphereError):
    """
    systemd does not run here, or refused.
    """

    exit_code = 1


def unit_path(name: str, *, is_system: bool) -> Path:
    """
    Say where a unit belongs.
    """
    if is_system:
        return Path("/etc/systemd/system") / name
    settings = os.environ.get("XDG_CONFIG_HOME") or ""
    home = Path(settings) if settings.startswith("/") else Path("~/.config").expanduser()
    return home / "systemd/user" / name


def check_rights(*, is_system: bool, user: int) -> None:
    """
    Refuse what only root may do.

    @param user: the number of the user who asks.
    @raise ConfigurationError: it is for the system, and we are not root.
    """
    if is_system and user != 0:
        raise ConfigurationError(
            "--system needs root: use sudo, or leave it out for a service of your own"
        )


def write_unit(path: Path, text: str) -> None:
    """
    Put a unit in its place, whole or not at all.

    @raise StateError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from None


def remove_unit(path: Path) -> None:
    """
    Remove a unit, and the link that starts it, if systemd has not done that.

    @raise StateError: it cannot be removed.
    """
    try:
        for link in path.parent.glob(f"*.target.wants/{path.name}"):
            if link.is_symlink():
                link.unlink()
        path.unlink()
    except OSError as error:
        raise StateError(f"{path} cannot be removed: {error.strerror}") from None


class ServiceManager:
    """
    The systemd of this machine, or this user's.
    """

    def __init__(self, *, is_system: bool) -> None:
        self._is_system = is_system

    @property
    def program(self) -> str:
        """
        How a person calls it.
        """
        return "systemctl" if self._is_system else "systemctl --user"

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """
        Run a program of systemd's.

        @raise ServiceManagerError: it is not there, or does not end.
        """
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
            )
        except OSError as error:
            raise ServiceManagerError(f"{command[0]}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise ServiceManagerError(
                f"{' '.join(command)}: no answer within {_TIMEOUT:g} s"
            ) from None

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run C{systemctl}.
        """
        return self._run("systemctl", *(() if self._is_system else ("--user",)), *arguments)

    def order(self, *arguments: str) -> None:
        """
        Have something done.

        @raise ServiceManagerError: it was refused.
        """
        done = self._ask(*arguments)
        if done.returncode != 0:
            reason = " ".join(done.stderr.split())[:300] or f"exit status {done.returncode}"
            raise ServiceManagerError(f"`{self.program} {' '.join(arguments)}`: {reason}")

    def try_order(self, *arguments: str) -> bool:
        """
        Have something done, if it can be.
        """
        with contextlib.suppress(ServiceManagerError):
            self.order(*arguments)
            return True
        return False

    def is_running(self) -> bool:
        """
        Say whether there is a manager that takes orders.
        """
        with contextlib.suppress(ServiceManagerError):
            return self._ask("is-system-running").stdout.strip() in _RUNNING
        return False

    def is_active(self, name: str) -> bool:
        """
        Say whether a unit runs.
        """
        with contextlib.suppress(ServiceManagerError):
            return self._ask("is-active", name).stdout.strip() in ("active", "activating")
        return False

    def lingers(self) -> bool:
        """
        Say whether this user's services run while the user is not logged in.
        """
        with contextlib.suppress(ServiceManagerError):
            user = str(os.getuid())
            shown = self._run("loginctl", "show-user", user, "--property=Linger", "--value")
            return shown.stdout.strip() == "yes"
        return False
