"""``python -m hmct_track`` is ``hmct-debugger``."""

import sys

from hmct_track.cli import main

if __name__ == "__main__":
    sys.exit(main())
