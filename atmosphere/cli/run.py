# -*- test-case-name: tests.cli.test_serving -*-
"""
Run a reactor in the foreground for one piece of work, and end with its status.

The first Ctrl-C or SIGTERM cancels the work, which then stops its services;
a second one ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import IO, Any, cast

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import (
    FilteringLogObserver,
    ILogFilterPredicate,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    PredicateResult,
    eventAsText,
    globalLogBeginner,
    jsonFileLogObserver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from atmosphere.errors import AtmosphereError
from atmosphere.node.clock import use_steady_clock
from atmosphere.node.readiness import tell_ready, tell_stopping

from .options import Settings

__all__ = ["begin_logging", "run", "run_service", "stay", "text_observer"]

Work = Callable[[Any], Coroutine[Deferred[Any], Any, "int | None"]]

_log = Logger()

#: By verbosity: the least level of our own events, and of everyone else's.
_LEVELS = {
    -1: (LogLevel.warn, LogLevel.error),
    0: (LogLevel.info, LogLevel.warn),
    1: (LogLevel.debug, LogLevel.info),
    2: (LogLevel.debug, LogLevel.debug),
}


def _one_line(text: str) -> str:
    """
    Keep what strangers chose from breaking a line of the log, or from
    steering the terminal that shows it.
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text.rstrip())


def text_observer(stream: IO[str]) -> ILogObserver:
    """
    Make an observer that writes one line for each event, and the traceback of
    a failure below it.
    """

    def observe(event: LogEvent) -> None:
        text = eventAsText(event, includeTraceback=False, includeSystem=False)
        level = event.get("log_level")
        name = "-" if level is None else level.name
        stamp, _, rest = text.partition(" ")
        trace = event["log_failure"].getTraceback() if "log_failure" in event else ""
        if rest.strip(" -") or trace:
            stream.write(f"{stamp} {name:<5} {_one_line(rest)}\n{trace}")
            stream.flush()

    return cast(ILogObserver, observe)


@implementer(ILogFilterPredicate)
class _Threshold:
    """
    Decides by its level whether an event is logged; what has none counts as information.
    """

    def __init__(self, verbosity: int) -> None:
        """
        @param verbosity: which of L{_LEVELS}.
        """
        self._ours, self._others = _LEVELS[verbosity]

    def __call__(self, event: LogEvent) -> object:
        """
        Decide.
        """
        level = event.get("log_level") or LogLevel.info
        is_ours = (event.get("log_namespace") or "").split(".")[0] == "atmosphere"
        is_wanted = level >= (self._ours if is_ours else self._others)
        return PredicateResult.yes if is_wanted else PredicateResult.no


def begin_logging(settings: Settings, stream: IO[str], *, quieter: int = 0) -> None:
    """
    Log to a stream from now on.

    @param quieter: steps by which a command logs less than a service does.
    """
    observer: ILogObserver
    if settings.log_format == "json":
        observer = jsonFileLogObserver(stream, recordSeparator="")
    else:
        observer = text_observer(stream)
    threshold = _Threshold(max(settings.verbosity - quieter, -1))
    filtered = FilteringLogObserver(observer, [threshold])
    globalLogBeginner.beginLoggingTo([filtered], redirectStandardIO=False, discardBuffer=True)


class _Ending:
    """
    What ends the work: itself, or a signal.

    @ivar status: the status to end with.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._working: Deferred[Any] | None = None
        self._signal = 0
        self.status = 0

    def begin(self, work: Work) -> None:
        """
        Catch signals and start the work.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._caught)
        self._working = Deferred.fromCoroutine(work(self._reactor))
        self._working.addCallbacks(self._done, self._failed).addErrback(self._broken)
        self._working.addBoth(lambda _: self._reactor.stop())

    def _caught(self, number: int, frame: FrameType | None) -> None:
        """
        Cancel the work, or if that was done before, end at once.
        """
        if self._signal:
            os._exit(128 + number)
        self._signal = number
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        """
        Cancel the work.
        """
        if self._working is not None:
            self._working.cancel()

    def _done(self, status: int | None) -> None:
        """
        Keep the status of work that has ended by itself, or in spite of a signal.
        """
        self.status = 130 if self._signal == signal.SIGINT else status or 0

    def _failed(self, failure: Failure) -> None:
        """
        Turn a failure into a status, and say what it was.
        """
        if self._signal and failure.check(CancelledError):
            self.status = 130 if self._signal == signal.SIGINT else 0
            return
        if failure.check(BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads: end without a word
            self.status = 1
            return
        if not failure.check(AtmosphereError):
            _log.failure("an unexpected error", failure)
            print(f"atmosphere: unexpected error: {failure.value!r}", file=sys.stderr)
            self.status = 1
            return
        error = failure.value
        assert isinstance(error, AtmosphereError)
        print(f"atmosphere: {' '.join(str(error).split())}", file=sys.stderr)
        self.status = error.exit_code

    def _broken(self, failure: Failure) -> None:
        """
        Log what went wrong while ending.
        """
        _log.failure("an unexpected error", failure)
        self.status = 1


def run(work: Work, settings: Settings, *, quieter: int = 0) -> int:
    """
    Run the reactor until the work is done or a signal came.

    @param work: a coroutine function that takes the reactor. It is cancelled
        at the first signal and should stop in C{finally} what it started.
    @return: the status to end with: the work's own, that of its error, 130
        after Ctrl-C, 0 after SIGTERM.
    """
    begin_logging(settings, sys.stderr, quieter=quieter)
    from twisted.internet import reactor  # noqa: TID251, the one place of the command line

    use_steady_clock(reactor)
    ending = _Ending(reactor)
    reactor.callWhenRunning(ending.begin, work)
    reactor.run()
    return ending.status


async def stay() -> None:
    """
    Tell the service manager that we are ready, and stay until we are cancelled.
    """
    tell_ready()
    try:
        await Deferred()
    finally:
        tell_stopping()


async def run_service(
    service: Service,
    work: Callable[[], Coroutine[Deferred[Any], Any, int | None]],
    bound: Callable[[], None] | None = None,
) -> int | None:
    """
    Start a service, do something while it runs, and stop it, come what may.

    @param work: a coroutine function.
    @param bound: called when the ports are bound, before anything else is said.
    @return: what the work returns.
    """
    try:
        service.privilegedStartService()
        if bound is not None:
            bound()
        service.startService()
        return await work()
    finally:
        await maybeDeferred(service.stopService)
