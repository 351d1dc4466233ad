"""The command line ``hmct-debugger``: one module per command, nothing heavy before it runs."""

from hmct_track.cli.main import main, script

__all__ = ["main", "script"]
