"""What sharing out costs: a task's overhead, and the efficiency at 1 to 16 workers.

Run as ``python -m benchmarks.dask``. Workers are threads of one process whose tasks sleep, as a
machine with few cores cannot compute on sixteen; sizes of tasks are those of `engine.blocks`.
"""

from __future__ import annotations

import argparse
import time

from distributed import Client, LocalCluster, wait

from hmct_track.engine.blocks import Pool


def simulated(seconds: float) -> float:
    """A task that takes so long."""
    time.sleep(seconds)
    return seconds


def overhead(client: Client, count: int = 200) -> float:
    """Seconds that a task takes besides its work, one after the other."""
    began = time.perf_counter()
    for _ in range(count):
        client.submit(simulated, 0.0, pure=False).result()
    return (time.perf_counter() - began) / count


def efficiency(client: Client, workers: int, tasks: int, seconds: float) -> float:
    """Work done over the time that the workers had, with tasks of one length, two per worker out.

    Args:
        client: of a cluster with so many workers.
        workers: how many.
        tasks: how many for each of them.
        seconds: what each takes.
    """
    began = time.perf_counter()
    left = workers * tasks
    out = set()
    while left or out:
        while left and len(out) < 2 * workers:
            out.add(client.submit(simulated, seconds, pure=False))
            left -= 1
        with client.as_current():
            out = set(wait(list(out), return_when="FIRST_COMPLETED").not_done)
    return tasks * seconds / (time.perf_counter() - began)


def tasks_of(measurements: int, workers: int, cost: float) -> tuple[int, float]:
    """How many tasks so many measurements are, and the seconds it takes to cut them.

    Args:
        measurements: pairs of configuration and sample, of 1000 configurations.
        workers: how many.
        cost: seconds of one measurement.
    """
    pool = Pool([str(k) for k in range(1000)], [str(k) for k in range(measurements // 1000)])
    began, count = time.perf_counter(), 0
    while blocks := pool.take(workers):
        units = sum(block.units for block in blocks)
        pool.learn(units, units * cost)
        count += 1
    return count, time.perf_counter() - began


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a task")
    parser.add_argument("--tasks", type=int, default=2, help="per worker")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    asked = parser.parse_args()
    print("workers  overhead of a task (ms)  efficiency")
    for workers in asked.workers:
        with (
            LocalCluster(
                n_workers=workers, processes=False, threads_per_worker=1, dashboard_address=":0"
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            own = overhead(client) * 1000
            found = efficiency(client, workers, asked.tasks, asked.seconds)
            print(f"{workers:7}  {own:23.1f}  {found:10.3f}", flush=True)
    print("measurements  tasks  cutting them (s)")
    for measurements in (10_000, 100_000, 1_000_000):
        count, seconds = tasks_of(measurements, 16, 0.05)
        print(f"{measurements:12}  {count:5}  {seconds:16.3f}")


if __name__ == "__main__":
    main()
