"""Run cases in processes of their own, and count what became of them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from tests.fuzz.runner import FINE, run


def main() -> int:
    """Exit code 1 if a case ended as none should."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--all", action="store_true", help="print every case")
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    for told in run(range(args.first, args.first + args.cases)):
        counts[told["outcome"]] += 1
        if args.all or told["outcome"] not in FINE:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
    told_all = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
    sys.stderr.write(told_all + "\n")
    return int(any(outcome not in FINE for outcome in counts))


if __name__ == "__main__":
    sys.exit(main())
