# -*- test-case-name: tests.cli.test_install -*-
"""
C{atmosphere install}: run this machine's node, or a relay, for good.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import Settings, command, option, pass_settings

if TYPE_CHECKING:
    from .systemd import ServiceManager
    from .systemd_unit import UnitPlan

__all__ = ["install"]

EXAMPLES = """
atmosphere install --print
atmosphere install --relay --print -- --host 0.0.0.0 --port 8080
atmosphere install --system --print
"""


@command(
    "install",
    examples=EXAMPLES,
    short_help="Have systemd run the node or a relay for good.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS]")
@click.option("--system", "is_system", is_flag=True, help="For the whole machine; needs root.")
@click.option("--relay", "is_relay", is_flag=True, help="A relay in place of the node.")
@option(
    "--user", metavar="NAME", help="With --system: run as this user.  [default: one of its own]"
)
@click.option("--no-start", is_flag=True, help="Write and enable the unit, and start nothing.")
@click.option("--print", "is_print", is_flag=True, help="Print the unit, and do nothing else.")
@click.option("--force", is_flag=True, help="Overwrite a unit that somebody else wrote.")
@pass_settings
@click.pass_context
def install(
    context: click.Context,
    settings: Settings,
    options: tuple[str, ...],
    is_system: bool,
    is_relay: bool,
    user: str | None,
    no_start: bool,
    is_print: bool,
    force: bool,
) -> None:
    """
    Have systemd run this machine's node, or with --relay a relay: now, after
    each failure, and after each start of the machine or, without --system,
    when this user logs in.

    What stands behind `--`, and every option that is not one of those below, is
    passed on to `atmosphere serve` or `atmosphere relay`. Called again it
    writes the unit anew and starts the service again.
    """
    from .install_plan import make_plan
    from .output import note, print_json
    from .systemd import ServiceManager, check_rights, unit_path, write_unit
    from .systemd_unit import encode_unit

    check_rights(is_system=is_system and not is_print, user=os.geteuid())
    plan, warnings = make_plan(
        context,
        settings,
        options,
        is_system=is_system,
        is_relay=is_relay,
        user=user,
        is_strict=not is_print,
    )
    text = encode_unit(plan)
    path = unit_path(plan.name, is_system=is_system)
    facts = {"unit": plan.name, "path": str(path), "state": plan.state}
    if is_print and settings.is_json:
        print_json({**facts, "text": text, "warnings": warnings})
        return
    if is_print:
        for each in warnings:
            note(f"atmosphere: {each}")
        print(text, end="")
        return
    _check_present(path, plan, force=force)
    manager = ServiceManager(is_system=is_system)
    is_running = manager.is_running()
    if not no_start:
        _check_startable(plan, manager, is_running=is_running)
    write_unit(path, text)
    is_enabled = _begin(plan, manager, is_running=is_running, no_start=no_start)
    if not is_enabled:
        warnings.append(f"it is not enabled yet: {manager.program} enable {plan.name}")
    if not is_system and not manager.lingers():
        warnings.append(
            "lingering is off, so this service ends when you log out and begins when you log in;"
            " to have it run all the time: loginctl enable-linger"
        )
    if settings.is_json:
        print_json(
            {
                **facts,
                "enabled": is_enabled,
                "started": not no_start,
                "warnings": warnings,
            }
        )
        return
    for each in warnings:
        note(f"atmosphere: {each}")
    print(f"wrote {path}" if no_start else f"wrote {path} and started {plan.name}")
    scope = "" if is_system else "--user "
    note(f"how it fares: {manager.program} status {plan.name}; journalctl {scope}-u {plan.name}")


def _check_present(path: Path, plan: UnitPlan, *, force: bool) -> None:
    """
    Refuse to overwrite what somebody else wrote, or what runs another node.

    @raise StateError: it is there.
    """
    from atmosphere.errors import StateError

    from .systemd_unit import is_ours, state_of

    if force or not os.path.lexists(path):
        return
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    if not is_ours(text):
        raise StateError(f"{path} is there and not made by this command: --force overwrites it")
    if state_of(text) != plan.state:
        raise StateError(
            f"{path} runs the node in {state_of(text)}: `atmosphere uninstall` first, or --force"
        )


def _check_startable(plan: UnitPlan, manager: ServiceManager, *, is_running: bool) -> None:
    """
    Refuse what could not be started, before anything is written.

    @raise ServiceManagerError: systemd does not run.
    @raise StateError: the node runs already, by itself.
    """
    from atmosphere.errors import StateError

    from .client import LocalClient
    from .systemd import ServiceManagerError

    if not is_running:
        what = "systemd" if plan.is_system else "this user's systemd"
        role = "relay" if plan.is_relay else "serve"
        raise ServiceManagerError(
            f"{what} does not run here: `atmosphere install --no-start` writes the unit for when it"
            f" does, --print shows it, and `atmosphere {role}` runs it in the foreground"
        )
    if plan.state is None or manager.is_active(plan.name):
        return
    if LocalClient(Path(plan.state)).is_running():
        raise StateError(f"the node in {plan.state} runs already: stop it first")


def _begin(plan: UnitPlan, manager: ServiceManager, *, is_running: bool, no_start: bool) -> bool:
    """
    Have systemd read the unit, and start it unless told not to.

    @return: whether it is enabled.
    @raise ServiceManagerError: it did not start.
    """
    from .systemd import ServiceManagerError

    if is_running:
        manager.order("daemon-reload")
    if no_start:
        return manager.try_order("enable", plan.name)
    manager.order("enable", plan.name)
    try:
        manager.order("restart", plan.name)
    except ServiceManagerError:
        scope = "" if plan.is_system else "--user "
        raise ServiceManagerError(
            f"{plan.name} is installed and did not start;"
            f" `journalctl {scope}-u {plan.name}` says why"
        ) from None
    return True
