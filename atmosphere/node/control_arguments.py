# -*- test-case-name: tests.node.test_control -*-
"""
The arguments of a request to the local API, each taken out once and checked.
"""

from __future__ import annotations

from typing import Any

from atmosphere.errors import ConfigurationError

__all__ = ["Arguments"]


class Arguments:
    """
    A JSON object, as strict as a function's signature.

    Each method raises L{ConfigurationError} for a value of another type or
    out of range.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def text(self, name: str, *, maximum: int) -> str:
        """
        Take out a string that must be there and not be empty.

        @param maximum: its length in characters.
        """
        value = self.optional_text(name, maximum=maximum)
        if not value:
            raise ConfigurationError(f"{name} is missing")
        return value

    def optional_text(self, name: str, *, maximum: int) -> str | None:
        """
        Take out a string that need not be there.
        """
        value = self._values.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > maximum:
            raise ConfigurationError(f"{name} must be a string of at most {maximum} characters")
        return value

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """
        Take out a whole number.
        """
        value = self._values.pop(name, default)
        if type(value) is not int or not minimum <= value <= maximum:
            raise ConfigurationError(f"{name} must be a number from {minimum} to {maximum}")
        return value

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        """
        Take out a number.
        """
        value = self._values.pop(name, default)
        if type(value) not in (int, float) or not minimum <= value <= maximum:
            raise ConfigurationError(f"{name} must be a number from {minimum:g} to {maximum:g}")
        return float(value)

    def boolean(self, name: str) -> bool:
        """
        Take out a truth value; false if it is not there.
        """
        value = self._values.pop(name, False)
        if type(value) is not bool:
            raise ConfigurationError(f"{name} must be true or false")
        return value

    def optional_list(self, name: str, *, most: int, maximum: int) -> list[str] | None:
        """
        Take out a list of strings that need not be there.

        @param most: how many strings it may have.
        @param maximum: the length of each in characters.
        """
        value = self._values.pop(name, None)
        if value is None:
            return None
        is_good = isinstance(value, list) and len(value) <= most
        if not is_good or any(not isinstance(e, str) or len(e) > maximum for e in value):
            raise ConfigurationError(f"{name} must be a list of at most {most} strings")
        return list(value)

    def finish(self) -> None:
        """
        Refuse what nobody took.
        """
        if self._values:
            raise ConfigurationError(f"unknown argument {min(self._values)[:80]!a}")
