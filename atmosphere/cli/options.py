# -*- test-case-name: tests.cli.test_app -*-
"""
What all commands share: the state directory, how to answer, how much to say.

These options stand before or after the name of a command; after it wins.
Every option also has a variable: C{ATMOSPHERE_} and its name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
from typing_extensions import override

__all__ = [
    "Command",
    "CommandGroup",
    "Count",
    "Number",
    "Option",
    "Settings",
    "command",
    "common_options",
    "format_examples",
    "option",
    "pass_settings",
]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

#: What the original's C{ATMOSPHERE_LOG_LEVEL} may say, as our verbosity.
_LOG_LEVELS = {"debug": 1, "info": 0, "warning": -1, "warn": -1, "error": -1, "critical": -1}


@dataclass
class Settings:
    """
    What the shared options say.

    @ivar state: the state directory.
    @ivar is_json: whether to answer with one JSON object.
    @ivar verbosity: -1 (warnings only), 0, 1 or 2.
    @ivar log_format: C{text} or C{json}.
    """

    state: Path = field(default_factory=lambda: Path("~/.atmosphere").expanduser())
    is_json: bool = False
    verbosity: int = 0
    log_format: str = "text"

    def __post_init__(self) -> None:
        """
        Remember which directory nobody named.
        """
        self._usual_state = self.state

    @property
    def names_state(self) -> bool:
        """
        Whether somebody named the state directory.
        """
        return self.state is not self._usual_state


pass_settings = click.make_pass_decorator(Settings, ensure=True)


class Number(click.FloatRange):
    """
    A number within a range, which C{nan} never is.
    """

    name = "number"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """
        Read the number.
        """
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Count(click.IntRange):
    """
    A whole number within a range.
    """

    name = "whole number"


class Directory(click.Path):
    """
    A directory that need not be there, and about which we can say more than
    click when it is another user's.
    """

    def __init__(self) -> None:
        super().__init__(readable=False, path_type=Path)

    @override
    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """
        Refuse the empty name, which would mean the current directory.
        """
        if not os.fspath(value):
            self.fail("name a directory.", param, ctx)
        return super().convert(value, param, ctx)


class Option(click.Option):
    """
    An option that may have other names too, which no help shows: those of the
    original program.
    """

    def __init__(
        self, declarations: Sequence[str], *, aliases: Sequence[str] = (), **settings: Any
    ) -> None:
        """
        @param aliases: the other names.
        """
        self.aliases = list(aliases)
        super().__init__(declarations, **settings)

    @override
    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """
        Have the other names parsed too.
        """
        shown = self.opts
        self.opts = [*shown, *self.aliases]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


def option(*declarations: str, **settings: Any) -> Callable[[FunctionT], FunctionT]:
    """
    Declare an option that can also be set by its variable.

    @param declarations: as click takes them.
    @param settings: as L{Option} takes them; C{envvar} replaces the variable.
    """
    long = next(name for name in declarations if name.startswith("--"))
    name = long.split("/")[0].strip("- ").replace("-", "_").upper()
    settings.setdefault("envvar", f"ATMOSPHERE_{name}")
    return click.option(*declarations, cls=Option, **settings)


def _keep_log_level(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """
    Take a log level of the original program, unless C{-q} or C{-v} says otherwise.
    """
    settings = context.ensure_object(Settings)
    if value is not None and settings.verbosity == 0:
        settings.verbosity = _LOG_LEVELS[value]


def _set(name: str, convert: Callable[[Any], Any]) -> Callable[..., None]:
    """
    Make a callback that keeps an option's value, if it was given.
    """

    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None and value is not False and value != 0:
            setattr(context.ensure_object(Settings), name, convert(value))

    return keep


def common_options(
    *, is_global: bool = False, has_json: bool = True
) -> Callable[[FunctionT], FunctionT]:
    """
    Give a command the shared options.

    @param is_global: for the program itself: only there are the variables
        read, or they would win over an option before the command.
    @param has_json: whether the command prints facts.
    """

    def variable(*names: str) -> Any:
        return {"envvar": [f"ATMOSPHERE_{name}" for name in names]} if is_global else {}

    def decorate(function: FunctionT) -> FunctionT:
        shared: dict[str, Any] = {"expose_value": False, "hidden": not is_global}
        decorators = [
            click.option(
                "--state",
                cls=Option,
                aliases=["--data-dir"],
                metavar="DIR",
                type=Directory(),
                callback=_set("state", lambda path: path.expanduser()),
                help="The state directory.  [default: ~/.atmosphere]",
                **variable("HOME", "DATA_DIR"),
                **shared,
            ),
            click.option(
                "-q",
                "--quiet",
                is_flag=True,
                callback=_set("verbosity", lambda _: -1),
                help="Log warnings only.",
                **variable("QUIET"),
                **shared,
            ),
            click.option(
                "-v",
                "--verbose",
                count=True,
                callback=_set("verbosity", lambda count: min(count, 2)),
                help="Log more; twice, everything.",
                **variable("VERBOSE"),
                **shared,
            ),
            click.option(
                "--log-format",
                type=click.Choice(["text", "json"]),
                callback=_set("log_format", str),
                help="How to log.  [default: text]",
                **variable("LOG_FORMAT"),
                **shared,
            ),
        ]
        if is_global:
            decorators.append(
                click.option(
                    "--log-level",
                    type=click.Choice(list(_LOG_LEVELS), case_sensitive=False),
                    callback=_keep_log_level,
                    expose_value=False,
                    hidden=True,
                    envvar="ATMOSPHERE_LOG_LEVEL",
                )
            )
        if has_json:
            decorators.insert(
                1,
                click.option(
                    "--json",
                    is_flag=True,
                    callback=_set("is_json", bool),
                    help="Answer with one JSON object.",
                    **variable("JSON"),
                    **{**shared, "hidden": False},
                ),
            )
        for each in reversed(decorators):
            function = each(function)
        return function

    return decorate


def format_examples(formatter: click.HelpFormatter, examples: str) -> None:
    """
    Show examples, one on a line, never wrapped.
    """
    if examples.strip():
        with formatter.section("Examples"):
            for line in examples.strip().splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line.strip()}\n")


class _WithExamples(click.Command):
    """
    What shows examples in its help.
    """

    def __init__(self, *arguments: Any, examples: str = "", **settings: Any) -> None:
        self.examples = examples
        super().__init__(*arguments, **settings)

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """
        Read the arguments; an error says which command's help explains them.
        """
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """
        Show the examples.
        """
        format_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


class Command(_WithExamples):
    """
    A command.
    """


class CommandGroup(_WithExamples, click.Group):
    """
    A command with others below it.
    """


def command(
    name: str,
    *,
    examples: str,
    has_json: bool = True,
    cls: type[Command] = Command,
    **settings: Any,
) -> Callable[[Callable[..., Any]], Command]:
    """
    Make a function a command with the shared options and examples.

    @param examples: lines that a user could type.
    @param cls: what kind of command it becomes.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        shared = common_options(has_json=has_json)(function)
        made = click.command(name, cls=cls, examples=examples, **settings)(shared)
        return made

    return decorate
