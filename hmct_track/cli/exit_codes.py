"""What ``hmct-debugger`` returns to the shell."""

import enum


class ExitCode(enum.IntEnum):
    """Exit status of the command line."""

    OK = 0
    """The answer was given."""
    INTERNAL_ERROR = 1
    """Something failed that hmct-track did not foresee; HMCT_TRACEBACK=1 shows where."""
    BAD_INPUT = 2
    """An argument, the model, the data or the lake is at fault; stderr says what to do."""
    NOT_TRACKED = 3
    """The answer was given and is in the lake, but MLflow did not take the run."""
    GATE_FAILED = 4
    """The answer was given, and a condition of --fail-if holds; or mend found nothing better on
    held-out samples, and wrote no model."""
    INTERRUPTED = 130
    """Ctrl-C; what was measured is in the lake."""
