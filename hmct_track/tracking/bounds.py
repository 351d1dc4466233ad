"""Waiting for MLflow, but not for ever, and saying in one line what went wrong."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from hmct_track.errors import TrackingError
from hmct_track.public import public_text, public_uri
from hmct_track.text import one_line

LOG = logging.getLogger(__name__)
T = TypeVar("T")

# What the user has set wins. Nothing leaves the machine unasked, nor goes where a server points to;
# one that is down is noticed in seconds rather than after minutes of retries.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",
}
# MLflow prints where a run is, with all secrets of the URI; stdout is the answer's.
_SILENT = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
SLACK = 2.0
_GRACE = 2.0
# With what a caller adds, a message has at most 300 characters.
_LONGEST_REASON = 150
_LONGEST_PLACE = 60
_UNANSWERED = re.compile(r"timed out|ReadTimeout|ConnectTimeout")
_WORDS = (
    (re.compile(r"Connection refused"), "the connection was refused"),
    (re.compile(r"NameResolutionError|Name or service not known"), "its host has no address"),
    (
        re.compile(r"error code 3\d\d != 200"),
        "it redirects elsewhere; set MLFLOW_TRACKING_URI to the address that it redirects to, or "
        "MLFLOW_ALLOW_HTTP_REDIRECTS to true",
    ),
    (re.compile(r"error code 401 != 200"), "it wants to know who asks (HTTP 401)"),
    (re.compile(r"error code 403 != 200"), "it refuses (HTTP 403)"),
    (re.compile(r"error code (\d+) != 200"), r"it answered HTTP \1"),
    (re.compile(r"too many (\d+) error responses"), r"it answered HTTP \1 each time"),
    (re.compile(r"not in a valid JSON format"), "its answer is not one of MLflow; is it a server?"),
    (re.compile(r"Connection aborted|RemoteDisconnected|Connection reset"), "it broke off"),
)


@dataclass(frozen=True)
class Limits:
    """Seconds that are waited."""

    call: float
    """For one answer."""

    @property
    def file(self) -> float:
        """For a file that is sent, or a database that is opened, and perhaps set up."""
        return 3 * self.call

    @property
    def whole(self) -> float:
        """For everything that is told about a run."""
        return 6 * self.call

    @classmethod
    def of_environment(cls) -> Limits:
        """As MLflow's own settings say; a request may be tried again."""
        seconds, retries = (
            _number(name)
            for name in ("MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        )
        return cls(seconds * (retries + 1) + SLACK)


class Watch:
    """How long an answer may take from now; and whether anybody still waits for it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.failure: BaseException | None = None
        """What went wrong before an attempt to leave things tidy, which may itself never end."""
        self.abandoned = False
        self._end = time.monotonic() + limits.whole
        self.expect(limits.whole)

    def expect(self, seconds: float) -> None:
        """Say that the next answer may take so long."""
        self.allowed = seconds
        self._deadline = min(self._end, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until waiting ends."""
        return self._deadline - time.monotonic()

    @property
    def told(self) -> str:
        """How long was waited, and what sets it."""
        whole = self._deadline == self._end
        what = (
            f"not done within {self.limits.whole:g} s"
            if whole
            else f"no answer within {self.allowed:g} s"
        )
        return f"{what}; MLFLOW_HTTP_REQUEST_TIMEOUT sets how long is waited"


class Watched:
    """An MLflow client whose every call is expected to end."""

    _FILES = frozenset({"log_artifact", "log_artifacts", "log_text"})

    def __init__(self, client: Any, watch: Watch) -> None:
        self._client = client
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            watch = self._watch
            if watch.abandoned and name != "set_terminated":
                raise TrackingError("nobody waits for it any more")
            watch.expect(watch.limits.file if name in self._FILES else watch.limits.call)
            return method(*arguments, **options)

        return call


def ask(what: str, uri: str, work: Callable[[Watch], T]) -> T:
    """Have MLflow do something.

    It is done in a thread, as no setting bounds how long a server may take that sends a byte a
    second, or a file that another process has locked.

    Args:
        what: the end of the message if it fails, such as ``did not take the run``.
        uri: where; secrets in it are not told.
        work: what to do; it is to set the watch before all that may take long.

    Raises:
        TrackingError: it failed, for whatever reason, or took too long.
    """
    with _environment() as leave:
        # MLflow passes on errors of databases, HTTP and file systems.
        try:
            import mlflow.tracking  # noqa: F401 - seconds that are not MLflow's to answer

            return _bounded(Watch(Limits.of_environment()), work, leave)
        except Exception as error:  # noqa: BLE001 - what is raised is another error
            LOG.debug("%s", public_text(repr(error), uri))
            reason = one_line(public_text(_reason(error), uri), _LONGEST_REASON)
            where = one_line(public_uri(uri), _LONGEST_PLACE)
            # Not chained: a traceback would show the URI of the first error.
            raise TrackingError(f"MLflow at {where} {what}: {reason}") from None


def _bounded(watch: Watch, work: Callable[[Watch], T], leave: Callable[[], None]) -> T:
    """Do it in a thread; leave it alone, and call ``leave``, when it takes too long."""
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            with _quiet():
                results.append(work(watch))
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, name="hmct-track-mlflow", daemon=True).start()
    try:
        while not done.wait(max(0.0, min(0.5, watch.left))):
            if watch.left <= 0:
                watch.abandoned = True
                leave()
                raise watch.failure or TimeoutError(watch.told)
    except (KeyboardInterrupt, SystemExit):
        watch.abandoned = True
        leave()
        done.wait(_GRACE)  # to set the run to FAILED
        raise
    if errors:
        raise errors[0]
    return results[0]


def _reason(error: BaseException) -> str:
    """What went wrong, in a few words where it is one of the usual things."""
    if isinstance(error, TimeoutError | TrackingError):
        return str(error)
    text = str(error).strip() or type(error).__name__
    if _UNANSWERED.search(text):
        return f"no answer within {_number('MLFLOW_HTTP_REQUEST_TIMEOUT'):g} s"
    for pattern, words in _WORDS:
        if found := pattern.search(text):
            return found.expand(words)
    return text.splitlines()[0]


def _number(name: str) -> float:
    """A setting of MLflow's, or our default where it is none."""
    try:
        return max(0.0, float(os.environ[name]))
    except (KeyError, ValueError):
        return float(DEFAULTS[name])


@contextmanager
def _environment() -> Iterator[Callable[[], None]]:
    """MLflow's settings for the time of a call; a notebook's own use of MLflow keeps its own.

    Gives a function that says that a call goes on, and is to stay silent.
    """
    before = dict(os.environ)
    ours = {k: v for k, v in DEFAULTS.items() if k not in before} | {_SILENT: "true"}
    os.environ.update(ours)
    changed = set(ours)
    try:
        yield lambda: changed.discard(_SILENT)
    finally:
        for name in changed:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep notes on setting up a database and on retries off the terminal; some show the URI."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
