# -*- test-case-name: tests.cli.test_app -*-
"""
The program itself: its commands, how it ends, and what it says when it fails.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from typing_extensions import override

from atmosphere import __version__
from atmosphere.errors import AtmosphereError

from .options import common_options, format_examples

__all__ = ["main", "run"]

#: Where each command is; a module is imported when its command is needed.
_COMMANDS = {
    "init": "init",
    "serve": "serve",
    "invite": "invite",
    "join": "join",
    "leave": "join",
    "requests": "requests",
    "approve": "requests",
    "deny": "requests",
    "peers": "peers",
    "ping": "ping",
    "why": "why",
    "expose": "expose",
    "forward": "forward",
    "services": "services",
    "status": "status",
    "network": "network",
    "relay": "relay",
    "mesh": "mesh",
    "install": "install",
    "uninstall": "uninstall",
    "lab": "lab",
    "demo": "demo",
}

EXAMPLES = """
atmosphere demo
atmosphere relay --port 8080
atmosphere init --name portland --relay ws://relay.example.org:8080
"""

EPILOG = (
    "Every option can also be given by a variable: ATMOSPHERE_ and its name, such as"
    " ATMOSPHERE_UDP_PORT; --state is ATMOSPHERE_HOME. Exit codes: 0 done, 1 failed, 2 wrong"
    " usage, 3 out of reach or timed out, 4 refused, 71 a port is taken, 130 interrupted."
)


class Program(click.Group):
    """
    The group of all commands, each imported when it is needed.
    """

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        List the commands in the order in which a user meets them.
        """
        return list(_COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        Import a command.
        """
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = importlib.import_module(f"atmosphere.cli.{module}")
        command = getattr(found, cmd_name)
        assert isinstance(command, click.Command)
        return command

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Show the examples and what holds for all commands.
        """
        format_examples(formatter, EXAMPLES)
        super().format_epilog(ctx, formatter)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@common_options(is_global=True)
@click.version_option(__version__, prog_name="atmosphere", message="%(prog)s %(version)s")
def program() -> None:
    """
    Join machines on different networks into one encrypted mesh, whatever NATs
    stand between them.
    """


def _fail(text: str, status: int) -> int:
    """
    Say in one line what went wrong.

    @return: the status to end with.
    """
    line = " ".join(text.split())
    print(f"atmosphere: {line}", file=sys.stderr)
    return status


def run(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    @param arguments: C{None} means those of the process.
    @return: the status to end with.
    """
    try:
        result: Any = program.main(
            args=None if arguments is None else list(arguments),
            prog_name="atmosphere",
            standalone_mode=False,
        )
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 2
    except click.UsageError as error:
        path = "atmosphere" if error.ctx is None else error.ctx.command_path
        text = error.format_message().rstrip(".")
        return _fail(f"{text}{'' if text.endswith('?') else '.'} See: {path} --help", 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except AtmosphereError as error:
        return _fail(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads: let the exit not fail too
        return 1
    except OSError as error:
        return _fail(str(error), 1)
    return result if isinstance(result, int) else 0


def main() -> None:
    """
    Run the command that the process was started with, and end the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what its encoding lacks is escaped
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run())
