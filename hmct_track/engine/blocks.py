"""Work in pieces for many workers: samples with the configurations that they miss, sized by cost.

It knows nothing of how a piece is carried out, so that it can be tested, and simulated, by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

TASK_SECONDS = 15.0
"""What a task is to take once costs are known: long beside the scheduler's milliseconds, short
enough that a killed worker, or a budget that is spent, loses little."""
LEAST_SECONDS = 1.0
"""No task is made shorter than this for the sake of an even end."""
MOST_SECONDS = 60.0
"""A sample whose configurations would take longer than this is split by them."""


@dataclass(frozen=True)
class Block:
    """Samples that all need the same configurations, by their positions: ``todo`` is ascending."""

    todo: tuple[int, ...]
    samples: tuple[str, ...]

    @property
    def units(self) -> int:
        """How many pairs of configuration and sample it has."""
        return len(self.todo) * len(self.samples)


class Pool:
    """What is left to measure, handed out in tasks that shrink towards the end.

    The first tasks are small, as nothing is known of costs. Later ones take `TASK_SECONDS`, or
    half of an even share of the rest where that is less: the biggest go first, and no worker is
    left with much when the others are done.

    Args:
        config_ids: the configurations.
        samples: ids of the samples.
        known: pairs of configuration id and sample id that are not needed.
    """

    def __init__(
        self,
        config_ids: Sequence[str],
        samples: Iterable[str],
        known: Collection[tuple[str, str]] = (),
    ) -> None:
        pairs = set(known)
        rest = [
            Block(tuple(k for k, c in enumerate(config_ids) if (c, s) not in pairs), (s,))
            for s in samples
        ]
        self._rest = deque(block for block in rest if block.todo)
        self.units = sum(block.units for block in self._rest)
        """How many pairs of configuration and sample are left to hand out."""
        self._seconds = 0.0
        self._units = 0

    @property
    def cost(self) -> float | None:
        """Seconds that a pair took so far, of one worker; None before anything was measured."""
        return self._seconds / self._units if self._units else None

    def learn(self, units: int, seconds: float) -> None:
        """Take in what a task took."""
        self._units += units
        self._seconds += seconds

    def give_back(self, blocks: Iterable[Block]) -> None:
        """Have the blocks of a task that was lost handed out again, before all others."""
        single = [Block(b.todo, (s,)) for b in blocks for s in b.samples]
        self._rest.extendleft(reversed(single))
        self.units += sum(block.units for block in single)

    def take(self, workers: int) -> list[Block]:
        """The next task; empty if nothing is left.

        Args:
            workers: how many there are, at least 1.
        """
        found = self._next(workers)
        self.units -= sum(block.units for block in found)
        return found

    def _next(self, workers: int) -> list[Block]:
        left = self.units
        if not left:
            return []
        share = left / (2 * workers)
        # Four rounds of small tasks at most tell the cost without being a part of it worth naming.
        if self.cost is None:
            size = share / 4
        else:
            cost = max(self.cost, 1e-9)
            size = max(min(share, TASK_SECONDS / cost), LEAST_SECONDS / cost)
        few = len(self._rest) < workers
        first = self._rest[0]
        too_long = self.cost is not None and len(first.todo) * self.cost > MOST_SECONDS
        if len(first.todo) > size and (few or too_long):
            return [self._split(max(1, round(size)))]
        found = [self._rest.popleft()]
        taken = found[0].units
        while self._rest and taken + self._rest[0].units <= size:
            block = self._rest.popleft()
            taken += block.units
            if found[-1].todo == block.todo:
                found[-1] = Block(block.todo, (*found[-1].samples, *block.samples))
            else:
                found.append(block)
        return found

    def _split(self, size: int) -> Block:
        """The first configurations of the first sample; its others stay."""
        block = self._rest.popleft()
        if len(block.todo) > size:
            self._rest.appendleft(Block(block.todo[size:], block.samples))
        return Block(block.todo[:size], block.samples)
