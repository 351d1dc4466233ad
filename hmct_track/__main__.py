"""``python -m hmct_track`` is ``hmct-debugger``."""

from hmct_track.cli import script

if __name__ == "__main__":
    script()
