# -*- test-case-name: tests.cli.test_install -*-
"""
C{atmosphere uninstall}: undo what C{atmosphere install} did.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .options import Settings, command, pass_settings

__all__ = ["uninstall"]

EXAMPLES = """
atmosphere uninstall
atmosphere uninstall --relay
atmosphere uninstall --system --purge
"""


@command("uninstall", examples=EXAMPLES, short_help="Undo `install`; keep the state.")
@click.option("--system", "is_system", is_flag=True, help="The service of the whole machine.")
@click.option("--relay", "is_relay", is_flag=True, help="The relay's.")
@click.option("--purge", is_flag=True, help="Delete the node's state directory too, for ever.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge deletes.")
@click.option("--force", is_flag=True, help="Remove a unit that somebody else wrote.")
@pass_settings
def uninstall(
    settings: Settings, is_system: bool, is_relay: bool, purge: bool, yes: bool, force: bool
) -> None:
    """
    Stop the service that `atmosphere install` made, and remove its unit.

    The node's state directory stays, and with it who the node is, unless
    --purge is given.
    """
    from atmosphere.errors import ConfigurationError

    from .output import note, print_json, shown
    from .systemd import check_rights, unit_path
    from .systemd_unit import UnitPlan

    if is_relay and purge:
        raise ConfigurationError("a relay keeps no state: --purge is for a node's")
    check_rights(is_system=is_system, user=os.geteuid())
    name = UnitPlan(is_relay, is_system, ()).name
    path = unit_path(name, is_system=is_system)
    state = _read_state(path, force=force)
    if purge:
        state = _check_purge(settings, state, has_agreed=yes)
    purged = Path(state) if purge and state is not None else None
    left = _remove(path, purged, is_system=is_system)
    if settings.is_json:
        print_json({"unit": name, "path": str(path), "state": state, "purged": purge, "left": left})
        return
    print(f"removed {path}" + (f" and the node's state in {state}" if purge else ""))
    if left:
        names = ", ".join(map(shown, left[:4])) + (", ..." if left[4:] else "")
        note(f"what is no node's stays in {state}: {names}")
    if state is not None and not purge:
        note(f"the node's state stays in {state}")


def _read_state(path: Path, *, force: bool) -> str | None:
    """
    Find the state directory in a unit.

    @param force: whether the unit may be somebody else's.
    @raise StateError: there is none, or it is somebody else's.
    """
    from atmosphere.errors import StateError

    from .systemd_unit import is_ours, state_of

    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        raise StateError(f"there is no {path}: nothing is installed") from None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    if not is_ours(text) and not force:
        raise StateError(f"{path} was not made by `atmosphere install`: --force removes it")
    return state_of(text) if is_ours(text) else None


def _remove(path: Path, purged: Path | None, *, is_system: bool) -> list[str]:
    """
    Stop a service and remove its unit.

    @param purged: the state directory to delete in between.
    @return: what is left there.
    """
    from .purge import purge
    from .systemd import ServiceManager, remove_unit

    manager = ServiceManager(is_system=is_system)
    is_running = manager.is_running()
    if is_running:
        manager.order("disable", "--now", path.name)
    else:
        manager.try_order("disable", path.name)
    left = [] if purged is None else purge(purged)
    remove_unit(path)
    if is_running:
        manager.order("daemon-reload")
        manager.try_order("reset-failed", path.name)
    return left


def _check_purge(settings: Settings, state: str | None, *, has_agreed: bool) -> str:
    """
    Make sure that a state directory may be deleted, before anything is done.

    @raise ConfigurationError: nobody agreed.
    @raise StateError: it is not the state directory of a node.
    """
    from atmosphere.errors import ConfigurationError, StateError
    from atmosphere.node.store import NodeStore

    if state is None or not NodeStore.exists(Path(state)):
        raise StateError(f"{state or 'the unit'} has no node's state: there is nothing to purge")
    if settings.names_state and settings.state.absolute() != Path(state):
        raise ConfigurationError(f"the unit runs the node in {state}, not in {settings.state}")
    if has_agreed:
        return state
    if not sys.stdin.isatty():
        raise ConfigurationError("--purge deletes for ever: add --yes where nobody can be asked")
    lost = "who this node is"
    if os.path.lexists(Path(state) / "root.key"):
        lost += ", and the right to admit others to its mesh,"
    click.confirm(f"delete {state} for ever, and with it {lost}?", abort=True, err=True)
    return state
