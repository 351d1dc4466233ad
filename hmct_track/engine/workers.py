"""Threads that run tasks, which may add tasks, and hand their results to one reader."""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

Emit = Callable[[T], None]


@dataclass(order=True)
class _Task(Generic[T]):
    priority: tuple[int, int]
    work: Callable[[], object] = field(compare=False)


class Workers(Generic[T]):
    """Runs tasks on ``count`` threads and yields what they emit, in the order of arrival.

    A task that another one left behind goes first, the latest before all, because it holds
    memory; the others follow in the order in which they were added.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._tasks: list[_Task[T]] = []
        self._results: queue.SimpleQueue[T | BaseException | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._pending = 0
        self._added = 0
        self.stopping = False

    def add(self, work: Callable[[], object], *, first: bool = False) -> None:
        """Have ``work`` run by one of the threads."""
        with self._changed:
            self._added += 1
            order = -self._added if first else self._added
            heapq.heappush(self._tasks, _Task((0 if first else 1, order), work))
            self._pending += 1
            self._changed.notify()

    def emit(self, result: T) -> None:
        """Give a result to the reader."""
        self._results.put(result)

    def results(self, stop: Callable[[], object]) -> Iterator[T]:
        """Run everything and yield the results.

        Args:
            stop: called when the reader has enough before the end, to cut running tasks short.

        Raises:
            Exception: the first that a task raised.
        """
        if not self._pending:
            return
        threads = [
            threading.Thread(target=self._work, name=f"hmct-worker-{k}", daemon=True)
            for k in range(self._count)
        ]
        for thread in threads:
            thread.start()
        try:
            while (result := self._results.get()) is not None:
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            with self._changed:
                ended = not self._pending
                self.stopping = True
                self._changed.notify_all()
            if not ended:
                stop()
            for thread in threads:
                thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and self._pending and not self.stopping:
                    self._changed.wait()
                if self.stopping or not self._tasks:
                    return
                task = heapq.heappop(self._tasks)
            try:
                task.work()
            except BaseException as error:  # noqa: BLE001 - handed to the reader, who raises it
                self._results.put(error)
            with self._changed:
                self._pending -= 1
                if not self._pending:
                    self._results.put(None)
                    self._changed.notify_all()
