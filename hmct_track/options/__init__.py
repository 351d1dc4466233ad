"""Options, declared once: what they are called, how they are written, and what they mean.

A frozen dataclass whose fields are made by `option` is all that the command line, the form of the
terminal UI, the lake, MLflow and the tables of the documentation need to know of a command.
"""

from hmct_track.options.declared import (
    Option,
    argument_list,
    from_stored,
    option,
    options_of,
    to_stored,
)
from hmct_track.options.kinds import Kind
from hmct_track.options.names import parse_metric, parse_metrics, parse_node_type

__all__ = [
    "Kind",
    "Option",
    "argument_list",
    "from_stored",
    "option",
    "options_of",
    "parse_metric",
    "parse_metrics",
    "parse_node_type",
    "to_stored",
]
