"""What the machine does during a run that takes long, as MLflow's own monitor would log it.

That one needs MLflow imported and a run in its store from the start, which would slow the answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict

_SECONDS = 5.0
_INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
_MEGABYTE = 10**6


class SystemMonitor:
    """Samples processor and memory in a thread, from the second interval on.

    The interval is 5 seconds, or what MLflow's own variable for it says. A shorter run costs a
    sleeping thread.
    """

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[int, float]]] = defaultdict(list)
        """MLflow's name of a metric to milliseconds since 1970 and value."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; at once, unless a sample is being taken."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        seconds = _interval()
        if self._ended.wait(seconds):
            return
        import psutil

        process = psutil.Process()
        psutil.cpu_percent()  # the next call tells the share since this one
        while not self._ended.wait(seconds):
            memory = psutil.virtual_memory()
            found = {
                "cpu_utilization_percentage": psutil.cpu_percent(),
                "system_memory_usage_megabytes": memory.used / _MEGABYTE,
                "system_memory_usage_percentage": memory.used / memory.total * 100,
                "process_memory_usage_megabytes": process.memory_info().rss / _MEGABYTE,
            }
            now = int(time.time() * 1000)
            for name, value in found.items():
                self.samples[f"system/{name}"].append((now, value))


def _interval() -> float:
    try:
        return max(float(os.environ[_INTERVAL]), 0.01)
    except (KeyError, ValueError):
        return _SECONDS
