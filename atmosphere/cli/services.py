# -*- test-case-name: tests.cli.test_forwarding -*-
"""
C{atmosphere services}: what is exposed and forwarded.
"""

from __future__ import annotations

from typing import Any

from .options import Settings, command, pass_settings

__all__ = ["services"]

EXAMPLES = """
atmosphere services
atmosphere services --json
"""


@command("services", examples=EXAMPLES, short_help="List what is exposed and forwarded.")
@pass_settings
def services(settings: Settings) -> None:
    """
    List the servers that members reach through this node, and the places on
    this machine that lead to peers' services.
    """
    from .client import LocalClient
    from .output import note, print_json, print_table, shown

    answer = LocalClient(settings.state).get("/v1/services")
    if settings.is_json:
        print_json(answer)
        return

    def state(each: dict[str, Any]) -> list[str]:
        kept = "kept" if each.get("keep") else "for the run"
        problem = each.get("problem")
        return [kept, shown(each.get("open")), "" if problem is None else shown(problem, 300)]

    rows = [
        [
            "exposed",
            f"{shown(each.get('service'))} = {shown(each.get('target'))}",
            f"to {', '.join(shown(name) for name in each.get('to') or [])}",
            *state(each),
        ]
        for each in answer.get("exposed", [])
    ] + [
        [
            "forward",
            shown(each.get("listen")),
            f"{shown(each.get('peer'))}:{shown(each.get('service'))}",
            *state(each),
        ]
        for each in answer.get("forwards", [])
    ]
    if not rows:
        note("nothing is exposed or forwarded: see `atmosphere expose` and `atmosphere forward`")
        return
    print_table(["kind", "here", "there", "lasts", "open", "problem"], rows)
