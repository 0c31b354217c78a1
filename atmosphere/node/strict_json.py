# -*- test-case-name: tests.node.test_strict_json -*-
"""
JSON as RFC 8259 means it, read without the liberties that the standard
library takes: no key twice, no NaN, no number beyond a double, no deep nesting.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from atmosphere.errors import DecodeError

__all__ = ["decode_json", "encode_json"]

MAXIMUM_DEPTH = 8


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    Make an object, unless a key is there twice.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError("JSON with a key twice", section="RFC 8259 §4")
    return found


def _constant(text: str) -> NoReturn:
    """
    Refuse what the library reads though it is no JSON.
    """
    raise DecodeError(f"JSON with {text}", section="RFC 8259 §6")


def _float(text: str) -> float:
    """
    Read a number with a fraction or an exponent.
    """
    number = float(text)
    if not math.isfinite(number):
        raise DecodeError("JSON with a number that is too large", section="RFC 8259 §6")
    return number


def _depth(value: Any) -> int:
    """
    Count the levels of a value.
    """
    match value:
        case dict():
            return 1 + max(map(_depth, value.values()), default=0)
        case list():
            return 1 + max(map(_depth, value), default=0)
        case _:
            return 0


def decode_json(data: bytes, *, maximum_length: int, maximum_depth: int = MAXIMUM_DEPTH) -> Any:
    """
    Read one JSON value.

    @param maximum_length: of the bytes.
    @param maximum_depth: of objects and lists within one another.
    @raise DecodeError: it is too long, too deep, or not JSON.
    """
    if len(data) > maximum_length:
        raise DecodeError(f"more than {maximum_length} bytes of JSON")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
        )
        depth = _depth(value)
    except RecursionError:
        raise DecodeError("JSON nested too deeply") from None
    except DecodeError:
        raise
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}"[:200]) from None
    if depth > maximum_depth:
        raise DecodeError("JSON nested too deeply")
    return value


def encode_json(value: Any) -> bytes:
    """
    Write a value on one line, in ASCII.

    @raise ValueError: a number that JSON has no word for.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
