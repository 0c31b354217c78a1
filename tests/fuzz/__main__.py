"""
Searches for inputs that break a decoder, led by which of its lines they reach.

Run from the root of a checkout: C{python -m tests.fuzz TARGET... [--seconds 20]}, or
C{all} for every target; C{--list} names them. It needs Google's atheris (C{pip install
atheris}), which nothing else here does. What breaks a target is put into
C{tests/fuzz/corpus/TARGET}, where L{tests.fuzz.test_targets} tries it in every run.

The search itself is in a process of its own, C{tests.fuzz.search}, whose code is
instrumented and so several times slower. What it found worth keeping is measured here.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from .property import CORPUS, allocated, timed, try_input
from .targets import TARGETS

_RUNS = re.compile(rb"number_of_executed_units:\s*(\d+)")


def keep(name: str, data: bytes, why: str) -> None:
    """
    Put an input among those that are tried in every run.
    """
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:12]
    path.write_bytes(data)
    print(f"{name}: {why}; the input is {path.relative_to(Path.cwd())}")  # noqa: T201


def measure(name: str, inputs: list[bytes]) -> tuple[int, float, int]:
    """
    Try what a search has kept, not instrumented.

    @return: how many broke the property, the longest time in seconds, the most memory.
    """
    target = TARGETS[name]
    broken, slowest, most = 0, 0.0, 0
    for data in inputs:
        try:
            seconds = timed(target, data)
            taken, allowed = allocated(target, data)
        except Exception as error:
            keep(name, data, f"{type(error).__name__}: {error}"[:2000])
            broken += 1
            continue
        slowest, most = max(slowest, seconds), max(most, taken)
        if seconds > target.soon:
            keep(name, data, f"{seconds * 1e3:.1f} ms for {len(data)} bytes")
            broken += 1
        elif taken > allowed:
            keep(name, data, f"{taken} bytes for {len(data)}")
            broken += 1
    return broken, slowest, most


def search(name: str, seconds: int, seed: int) -> int:
    """
    Search for a while.

    @return: how many inputs broke the target.
    """
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="atmosphere-fuzz-") as text:
        folder = Path(text)
        (folder / "corpus").mkdir()
        kept = CORPUS / name
        known = [each.read_bytes() for each in sorted(kept.iterdir())] if kept.is_dir() else []
        for number, data in enumerate([*target.seeds(), *known]):
            (folder / "corpus" / f"seed-{number:03}").write_bytes(data[: target.longest])
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.search", name),
                *(f"-max_total_time={seconds}", f"-max_len={target.longest}", f"-seed={seed}"),
                *("-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1", "-len_control=20"),
                *(f"-artifact_prefix={folder}/found-", str(folder / "corpus")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        found = [each.read_bytes() for each in sorted(folder.glob("found-*"))]
        corpus = [each.read_bytes() for each in sorted((folder / "corpus").iterdir())]
    runs = _RUNS.search(done.stdout)
    for data in found:
        last = done.stdout[-3000:].decode("utf-8", "replace")
        try:
            try_input(target, data)
        except Exception:
            keep(name, data, f"the search was stopped by\n{last}\n")
    if done.returncode and not found:
        print(done.stdout[-3000:].decode("utf-8", "replace"))  # noqa: T201
    broken, slowest, most = measure(name, [*found, *corpus])
    print(  # noqa: T201
        f"{name}: {int(runs[1]) if runs else 0:,} inputs in {seconds} s, {broken} broke it;"
        f" of {len(corpus)} kept the slowest took {slowest * 1e3:.2f} ms,"
        f" the most memory {most / 1024:.0f} KiB",
        flush=True,
    )
    return broken + bool(done.returncode and not found)


def main() -> int:
    """
    Search in the targets that are named.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, "all"], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    chosen = parser.parse_args()
    if chosen.list or not chosen.target:
        print(" ".join(TARGETS))  # noqa: T201
        return 0
    if find_spec("atheris") is None:
        print("this needs atheris: pip install atheris", file=sys.stderr)  # noqa: T201
        return 2
    names = list(TARGETS) if "all" in chosen.target else chosen.target
    return int(sum(search(name, chosen.seconds, chosen.seed) for name in names) > 0)


if __name__ == "__main__":
    sys.exit(main())
