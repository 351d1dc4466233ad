"""Taking configurations through the parts of a model, and giving out what judges make of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from hmct_track.engine.comparison import Comparison, Found
from hmct_track.engine.partition import Part, Partition
from hmct_track.engine.paths import Branch, Key, Tensors, Variants
from hmct_track.engine.protocols import Record
from hmct_track.engine.workers import Workers


class Walk:
    """Takes branches through the parts and emits what they differ by.

    Args:
        partition: the parts.
        unchanged: their sessions, where they are as in float.
        variants: their sessions, where they are not.
        states: sample to the float values of its tensors: inputs, what is cut and what is compared.
        comparison: who judges which of the outputs.
        workers: who takes the branches, and takes the records.
        keys: for each configuration, the parts that it changes and how.
        ids: for each configuration, its id.
    """

    def __init__(
        self,
        partition: Partition,
        unchanged: Variants,
        variants: Variants,
        states: Mapping[str, Tensors],
        comparison: Comparison,
        workers: Workers[Record],
        keys: Sequence[Mapping[int, Key]],
        ids: Sequence[str],
    ) -> None:
        self._partition = partition
        self._unchanged = unchanged
        self._variants = variants
        self._states = states
        self._comparison = comparison
        self._workers = workers
        self._keys = keys
        self._ids = ids
        made = {name for part in partition.parts for name in part.compared}
        self._unmade = [name for name in comparison.tensors if name not in made]

    def go(self, branch: Branch) -> None:
        """Take a branch to the end, leaving the branches that part from it as tasks."""
        if branch.part == 0:
            self._emit_same(branch, self._unmade)
        while branch.part < len(self._partition.parts) and not self._workers.stopping:
            (key, branch), *others = branch.split(self._keys)
            for _, other in others:
                self._workers.add(partial(self.go, other), first=bool(other.changed))
            part = self._partition.parts[branch.part]
            if key or any(
                name in tensors for tensors in branch.changed.values() for name in part.inputs
            ):
                self._run_part(branch, key)
            else:
                self._emit_same(branch, part.compared)
            branch.part += 1
        if self._comparison.needs_all and not self._workers.stopping:
            self._emit_samples(branch)

    def _run_part(self, branch: Branch, key: Key) -> None:
        """Run a part for each sample, compare what is to be compared, keep what is read later."""
        number, part = branch.part, self._partition.parts[branch.part]
        session = (self._variants if key else self._unchanged).take(number, key)
        for sample in branch.samples:
            if self._workers.stopping:
                return
            state, changed = self._states[sample], branch.changed.setdefault(sample, {})
            feed = {name: changed.get(name, state[name]) for name in part.inputs}
            made = dict(zip(session.outputs, session.run(feed), strict=True))
            self._emit_made(branch, sample, part, made)
            changed.update(made)
            self._drop(changed, number)

    def _drop(self, tensors: Tensors, number: int) -> None:
        """Forget what no part behind this one reads."""
        last_use = self._partition.last_use
        for name in [n for n in tensors if last_use.get(n, -1) <= number]:
            del tensors[name]

    def _emit_made(self, branch: Branch, sample: str, part: Part, made: Tensors) -> None:
        """Compare what a part has made."""
        state, first = self._states[sample], self._ids[branch.configs[0]]
        for name in made:
            if name not in part.compared:
                continue
            found = self._comparison.tensor(sample, name, state[name], made[name], first)
            self._emit(branch, sample, found)
            if self._comparison.needs_all:
                branch.given.setdefault(sample, {})[name] = made[name]

    def _emit_same(self, branch: Branch, names: Collection[str]) -> None:
        """Outputs that nothing before them changes."""
        first = self._ids[branch.configs[0]]
        for sample in branch.samples:
            for name in names:
                x = self._states[sample][name]
                self._emit(branch, sample, self._comparison.same_tensor(sample, name, x, first))

    def _emit_samples(self, branch: Branch) -> None:
        """All outputs of each sample at once."""
        first = self._ids[branch.configs[0]]
        for sample in branch.samples:
            changed = branch.given.pop(sample, {})
            found = self._comparison.sample(sample, self._states[sample], changed, first)
            self._emit(branch, sample, found)

    def _emit(self, branch: Branch, sample: str, found: Iterable[Found]) -> None:
        for output, judge, value in found:
            for config in branch.configs:
                self._workers.emit(Record(self._ids[config], sample, output, judge, value))
