# -*- test-case-name: tests.node.test_store -*-
"""
C{config.toml} on the disk: written once, and then its owner's to edit.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from pathlib import Path

from atmosphere.errors import ConfigurationError

from .config import NodeConfig, decode_config, encode_config
from .state_file import replace_file

__all__ = ["CONFIG_NAME", "read_config", "write_config"]

CONFIG_NAME = "config.toml"
MAXIMUM_CONFIG = 256 * 1024


def write_config(path: Path, config: NodeConfig) -> bool:
    """
    Write the settings of a new node, unless its owner wrote some before.

    @return: whether they were written.
    @raise OSError: the disk refused.
    """
    if os.path.lexists(path):
        return False
    replace_file(path, encode_config(config).encode("utf-8"))
    return True


def read_config(path: Path) -> NodeConfig:
    """
    Read the settings. They are never mended, set aside or written anew: that is for
    the one whose settings they are.

    @raise ConfigurationError: they are missing or wrong, said by name.
    """
    try:
        data = _read(path)
        if not data.strip():
            raise ConfigurationError(f"it is empty; {_remedy(path)}")
        return decode_config(data.decode("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} is missing; {_remedy(path)}") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigurationError(
                f"{path} is a symbolic link, which is not followed: put the file itself there"
            ) from None
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _remedy(path: Path) -> str:
    """
    Say how to come by settings.
    """
    return f"the least that it must say is: echo 'name = \"NAME\"' > {shlex.quote(str(path))}"


def _read(path: Path) -> bytes:
    """
    Read a file of reasonable length.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError("it is not a file")
        data = file.read(MAXIMUM_CONFIG + 1)
    if len(data) > MAXIMUM_CONFIG:
        raise ConfigurationError(f"it has more than {MAXIMUM_CONFIG} bytes")
    return data
