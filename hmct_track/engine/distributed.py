"""The evaluator that measures on the workers of a Dask cluster; nothing above it knows of Dask.

Tasks are blocks of samples with the configurations that they miss (see `blocks`); their records
come back to the client, which alone yields them, so a task that is done twice counts once.
"""

from __future__ import annotations

import atexit
import logging
import re
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hmct_track import errors
from hmct_track.engine.blocks import Block, Pool
from hmct_track.engine.evaluate import Engine
from hmct_track.engine.machine import default_threads
from hmct_track.engine.protocols import Judge, Record, Samples
from hmct_track.engine.route import difference
from hmct_track.errors import EngineError, HmctTrackError, UsageError
from hmct_track.model import QuantModel
from hmct_track.types import Output, QuantConfig

if TYPE_CHECKING:
    from distributed import Client, Future

    from hmct_track.engine.remote import Done, Facts

LOG = logging.getLogger(__name__)

WAIT_SECONDS = 5.0
"""How long a scheduler, and its first worker, may take to answer."""
RENEW_SECONDS = 60.0
"""How long a scheduler that went away may take to come back."""
_POLL_SECONDS = 1.0
_QUEUED = 2
"""Tasks per worker that are out at a time: one that runs, and one that waits for it."""

_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+:\d+")


class Connection:
    """A Dask client, and the local cluster behind it where there is one.

    Args:
        scheduler: the address of a scheduler, or a `distributed.Client`; None for a cluster of
            processes on this machine.
        workers: how many processes that has.

    Raises:
        UsageError: Dask is not installed, the address is none, or no scheduler or worker answers.
    """

    def __init__(self, scheduler: Any = None, workers: int | None = None) -> None:
        try:
            import distributed
        except ImportError as error:
            raise UsageError(
                "scheduler and workers need Dask, which is not installed; "
                "pip install 'hmct-track[dask]'"
            ) from error
        self._cluster: Any = None
        self._owned = True
        if isinstance(scheduler, distributed.Client):
            self.client: Client = scheduler
            self._owned = False
        elif scheduler is not None:
            self.client = _client(check_address(scheduler))
        else:
            assert workers is not None  # noqa: S101 - `connect` has one of the two
            self._cluster = distributed.LocalCluster(
                n_workers=workers,
                processes=True,
                threads_per_worker=max(1, default_threads() // workers),
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
            self.client = distributed.Client(self._cluster, set_as_default=False)
        self._address = self.client.scheduler.address
        try:
            # The first worker of a local cluster imports as much as this process did.
            self.client.wait_for_workers(1, timeout=WAIT_SECONDS if self._cluster is None else 60)
        except TimeoutError as error:
            self.close()
            raise UsageError(
                f"the Dask scheduler at {self._address!r} has no workers within "
                f"{WAIT_SECONDS:.0f} s; start some with: dask worker {self._address}"
            ) from error
        LOG.warning("measuring on %d Dask workers; %s", self.workers, self.dashboard)
        self.name = self._address

    @property
    def workers(self) -> int:
        """How many workers there are at this moment."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    @property
    def dashboard(self) -> str:
        """Where Dask's dashboard is, for people."""
        link = self.client.dashboard_link
        found = self.client.scheduler_info(n_workers=0).get("services", {}).get("dashboard")
        return f"dashboard: {link}" if found else "no dashboard (it needs bokeh)"

    def facts(self) -> dict[str, Facts]:
        """Worker to what it computes with.

        Raises:
            UsageError: one of them cannot say, or computes with other versions than this process.
        """
        from hmct_track.engine import remote

        try:
            found: dict[str, Facts] = self.client.run(remote.facts)
        except Exception as error:  # a worker's own, such as a module that it does not have
            raise UsageError(
                f"a Dask worker cannot load hmct-track ({error}); install the same version there: "
                f"pip install 'hmct-track[dask]'"
            ) from error
        own = remote.facts()
        for address, facts in found.items():
            check_versions(address, facts, own)
        return found

    def renew(self) -> None:
        """Connect once more, to a scheduler that was restarted.

        Raises:
            EngineError: it does not come back.
        """
        LOG.warning("the Dask scheduler at %s went away; waiting for it", self._address)
        try:
            # A client connects again by itself, but not for long.
            if self.client.status != "running":
                if self._owned:
                    with suppress(Exception):  # it is broken, which is why
                        self.client.close(timeout=1)
                self.client = _client(self._address, RENEW_SECONDS)
                self._owned = True
            self.client.wait_for_workers(1, timeout=RENEW_SECONDS)
        except (UsageError, TimeoutError) as error:
            raise EngineError(
                f"the Dask scheduler at {self._address!r} went away and did not come back with "
                f"workers within {RENEW_SECONDS:.0f} s; what was measured is kept, and the same "
                "command goes on from there"
            ) from error

    def close(self) -> None:
        """End what was started here."""
        if self._owned:
            with suppress(Exception):  # nothing hangs on a farewell
                self.client.close(timeout=2)
        if self._cluster is not None:
            self._cluster.close()


_OPEN: dict[Any, Connection] = {}


def connect(scheduler: Any = None, workers: int | None = None) -> Connection:
    """A connection, the same one for the same arguments, as long as this process lives.

    Raises:
        UsageError: as of `Connection`, or both or neither of the arguments are given.
    """
    if (scheduler is None) == (workers is None):
        raise UsageError("give either scheduler or workers; scheduler brings its own workers")
    key = scheduler if scheduler is None or isinstance(scheduler, str) else id(scheduler)
    found = _OPEN.get((key, workers))
    if found is None or found.client.status != "running":
        found = _OPEN[key, workers] = Connection(scheduler, workers)
    return found


@atexit.register
def disconnect() -> None:
    """End all connections, and the clusters that were started for them."""
    while _OPEN:
        _OPEN.popitem()[1].close()


def check_address(scheduler: Any) -> str:
    """The address of a scheduler.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(scheduler, str) or not _ADDRESS.fullmatch(scheduler):
        raise UsageError(
            f"scheduler is {scheduler!r}; expected the address of a Dask scheduler, such as "
            "tcp://host:8786"
        )
    return scheduler


def check_versions(address: str, facts: Facts, own: Facts) -> None:
    """See that a worker computes with what this process computes with.

    Raises:
        UsageError: it does not, so its values could not stand beside others.
    """
    if facts.versions != own.versions:
        raise UsageError(
            f"Dask worker {address} has {facts.versions}; here it is {own.versions}; install the "
            "same versions on both"
        )


def _client(address: str, seconds: float = WAIT_SECONDS) -> Client:
    import distributed

    noise = logging.getLogger("distributed")
    level = noise.level
    noise.setLevel(logging.CRITICAL)
    try:
        return distributed.Client(address, timeout=seconds, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"no Dask scheduler answers at {address!r} within {seconds:.0f} s; check the address, "
            "or start one with: dask scheduler"
        ) from error
    finally:
        noise.setLevel(level)


class DistributedEngine(Engine):
    """Measures on the workers of a cluster; what is not a measurement is done here.

    Args:
        model: the model.
        connection: to the cluster.
        threads: cores that each worker uses; those that it was given by default.
        memory: as of `Engine`, of each worker.
        providers: as of `Engine`, of each worker.

    Raises:
        UsageError: a worker has other versions.
    """

    def __init__(
        self,
        model: QuantModel,
        connection: Connection,
        *,
        threads: int | None = None,
        memory: int | None = None,
        providers: Sequence[str] = (),
    ) -> None:
        super().__init__(model, threads=threads, memory=memory, providers=providers)
        self._connection = connection
        self._given: dict[str, Any] = {
            "threads": threads,
            "memory": memory,
            "providers": tuple(providers),
        }
        options = "-".join(map(str, (threads, memory, *providers)))
        self._base_name = f"hmct-{model.model_id}-{options}"
        self._noise: float | None = None
        self._facts = connection.facts()
        self._compared: set[tuple[str, ...]] = set()
        path = str(model.path) if model.path else None
        self._register(None if path else model, path)

    is_elsewhere = True

    @property
    def noise_floor(self) -> float | None:
        """The largest that the null test of any worker found; None before anything was evaluated.

        Every worker runs it on the first sample that it gets.
        """
        return self._noise

    @property
    def computed_on(self) -> tuple[str, ...]:
        """The kinds of workers that gave values: CPU model and runtime, and how many of each."""
        kinds = [str(facts) for facts in self._facts.values()]
        return tuple(f"{kinds.count(kind)} x {kind}" for kind in sorted(set(kinds)))

    def records(
        self,
        configs: Sequence[QuantConfig],
        samples: Samples,
        outputs: Sequence[str | Output],
        judges: Sequence[Judge],
        known: Collection[tuple[str, str]] = (),
    ) -> Iterator[Record]:
        """What judges make of every configuration's outputs; see `Evaluator.records`.

        Raises:
            EngineError: also where workers die over a task again and again, or the scheduler goes
                away for good.
        """
        if not samples or not configs or not judges:
            return
        for config in configs:
            self._lowering.check_shifts(config)
        parts = [str(self.output(output)) for output in outputs]
        self._compare_kinds(next(iter(samples.values())), [self.output(o).tensor for o in outputs])
        texts = [config.to_json() for config in configs]
        pool = Pool([config.config_id for config in configs], samples, known)
        out: dict[Future, list[Block]] = {}
        try:
            while pool.units or out:
                self._send(pool, out, texts, samples, parts, judges)
                yield from self._receive(pool, out)
        finally:
            if out:  # the reader has had enough, or something failed
                if self.keeper:  # nobody waits for what is written from now on
                    self.keeper.close()
                with suppress(Exception):  # a scheduler that is gone has nothing to cancel
                    self._connection.client.cancel(list(out), force=True)

    def _send(
        self,
        pool: Pool,
        out: dict[Future, list[Block]],
        texts: Sequence[str],
        samples: Samples,
        outputs: Sequence[str],
        judges: Sequence[Judge],
    ) -> None:
        """Hand out tasks, until every worker has one and another."""
        from hmct_track.engine import remote

        workers = max(1, self._connection.workers)
        while len(out) < _QUEUED * workers and (blocks := pool.take(workers)):
            work = [
                remote.Work(
                    tuple(texts[k] for k in block.todo),
                    {s: dict(samples[s]) for s in block.samples},
                )
                for block in blocks
            ]
            future = self._connection.client.submit(
                remote.evaluate, self._name, work, outputs, judges, self.keeper, pure=False
            )
            out[future] = blocks

    def _receive(self, pool: Pool, out: dict[Future, list[Block]]) -> Iterator[Record]:
        """Take what is done; give back what was lost."""
        from distributed import CancelledError, wait

        # Where the scheduler went away, all that was out is cancelled.
        with suppress(TimeoutError, CancelledError), self._connection.client.as_current():
            wait(list(out), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
        if self._connection.client.status != "running" or any(
            future.status in ("lost", "cancelled") for future in out
        ):
            for blocks in out.values():
                pool.give_back(blocks)
            out.clear()
            self._connection.renew()
            self._facts |= self._connection.facts()
            self._register(self.model, None)
            return
        for future in [future for future in out if future.done()]:
            blocks = out[future]
            done = _result(future)
            del out[future]
            if not done.has_model:
                # A worker that cannot read the path, or one where another client took it away.
                pool.give_back(blocks)
                self._register(self.model, None)
                continue
            self._learn(done)
            if done.error is None:
                pool.learn(sum(block.units for block in blocks), done.seconds)
            yield from done.records
            if done.error:
                kind, text = done.error
                own = getattr(errors, kind, EngineError)
                raise EngineError(text) if own is errors.UnknownNodeError else own(text)

    def _learn(self, done: Done) -> None:
        from hmct_track.engine import remote

        if done.noise is not None:
            self._noise = max(self._noise or 0.0, done.noise)
        # Workers may come while a run goes on.
        check_versions("that came later", done.facts, remote.facts())

    def _compare_kinds(self, sample: Mapping[str, NDArray[Any]], tensors: Sequence[str]) -> None:
        """Say where the float model is not the same on two kinds of workers."""
        kinds = {str(facts): address for address, facts in self._facts.items()}
        key = tuple(tensors)
        if len(kinds) < 2 or key in self._compared:
            return
        from hmct_track.engine import remote

        self._compared.add(key)
        self._register(self.model, None)
        found = {
            kind: self._connection.client.submit(
                remote.float_values, self._name, dict(sample), key, workers=[address], pure=False
            ).result()
            for kind, address in kinds.items()
        }
        for line in apart({kind: values for kind, values in found.items() if values}):
            LOG.warning("%s", line)

    def _register(self, model: QuantModel | None, path: str | None) -> None:
        """Have the model on every worker that there is or will be."""
        from hmct_track.engine import remote

        client = self._connection.client
        # Dask leaves out what workers have by this name already.
        self._name = f"{self._base_name}-{'path' if model is None else 'whole'}"
        plugin = remote.ModelPlugin(self._name, self.model.model_id, model, path, **self._given)
        client.register_plugin(plugin, name=self._name)
        weakref.finalize(self, _forget, weakref.ref(client), self._name).atexit = False


def apart(values: Mapping[str, Mapping[str, NDArray[Any]]], floor: float = 0.0) -> list[str]:
    """Lines about kinds of workers whose float values differ by more than a share of their norm.

    Args:
        values: kind to tensor to float values.
        floor: the share.
    """
    kinds = sorted(values)
    lines = []
    for kind in kinds[1:]:
        most = max(difference(x, values[kind][name]) for name, x in values[kinds[0]].items())
        if most > floor:
            lines.append(
                f"the float model differs by {most:.1e} of its norm between workers with "
                f"{kinds[0]} and workers with {kind}; their values carry that difference"
            )
    return lines


def _forget(client: weakref.ref[Any], name: str) -> None:
    """Take a model off the workers."""
    found = client()
    if found is not None and found.status == "running":
        with suppress(Exception):  # another engine of the same model may have done it
            found.unregister_worker_plugin(name)


def _result(future: Future) -> Done:
    """What a task gave.

    Raises:
        EngineError: it failed as no task of ours should.
    """
    try:
        done: Done = future.result()
    except HmctTrackError:
        raise
    except Exception as error:  # Dask's own, and what a judge of the user's raises
        name = type(error).__name__
        if name == "KilledWorker":
            raise EngineError(
                "Dask workers died over the same samples again and again, mostly for want of "
                "memory; give each worker more, or lower --memory; what was measured is kept"
            ) from error
        raise EngineError(f"a task failed on a Dask worker: {name}: {error}") from error
    return done
