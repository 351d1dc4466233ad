"""What a device gave: tensors that a runtime dumped, by sample, checked against the model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmct_track.data import folder_name
from hmct_track.errors import DataError
from hmct_track.quantization import QuantParams

Array = NDArray[Any]

_MOST_NAMED = 3
"""Tensors that a remark names."""


@dataclass
class Dumps:
    """The dumps of one device: tensor to what each sample gave, loaded when asked for."""

    where: str
    found: Mapping[str, Sequence[Path | Array]]
    scales: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Tensor to its scale and zero point, where it is dumped as integers."""
    _done: dict[str, list[str]] = field(default_factory=dict)
    """What was done to fit tensors to the model, and to which."""

    @property
    def remarks(self) -> list[str]:
        """What was done to fit tensors to the model, each said once, with the first of them."""
        return [f"{_named(tensors)} {text}" for text, tensors in self._done.items()]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors."""
        return tuple(self.found)

    @property
    def samples(self) -> int:
        """Number of samples, the same of each tensor."""
        return len(next(iter(self.found.values())))

    def load(
        self, tensor: str, sample: int, shape: Sequence[int], params: QuantParams | None
    ) -> Array:
        """A tensor of a sample as float32 of the model's shape.

        Args:
            tensor: its name.
            sample: place of the sample.
            shape: what the tensor has in the simulation.
            params: of the quantizer that reads it, for integers without a scale of their own.

        Raises:
            DataError: it cannot be read, has another shape, or is of integers without a scale.
        """
        source = self.found[tensor][sample]
        label = f"{self.where}: tensor {tensor!r}, sample {sample}"
        array = source
        if isinstance(source, Path):
            try:
                array = np.load(source, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise DataError(f"{label}: {source} cannot be read: {error}") from error
        array = self._fitted(np.asarray(array), tuple(shape), label, tensor)
        if array.dtype.kind in "iub":
            array = self._scaled(array, label, tensor, params)
        if array.dtype.kind != "f":
            raise DataError(f"{label} is of type {array.dtype}; floats or integers were expected")
        return array.astype(np.float32)

    def _fitted(self, array: Array, shape: tuple[int, ...], label: str, tensor: str) -> Array:
        if array.shape == shape:
            return array
        if [n for n in array.shape if n != 1] == [n for n in shape if n != 1]:
            return array.reshape(shape)
        if len(shape) == 4 and array.ndim == 4 and array.transpose(0, 3, 1, 2).shape == shape:
            self._say(tensor, "taken as NHWC, as only so there is the model's shape")
            return array.transpose(0, 3, 1, 2)
        raise DataError(
            f"{label} has shape {list(array.shape)}; the model's is {list(shape)} (or NHWC)"
        )

    def _scaled(self, array: Array, label: str, tensor: str, params: QuantParams | None) -> Array:
        own = self.scales.get(tensor)
        if own is not None:
            try:
                scale = np.asarray(own["scale"], np.float64)
                zero = np.asarray(own.get("zero_point", 0), np.float64)
                axis = int(own.get("axis", 1))
            except (TypeError, ValueError, KeyError) as error:
                raise DataError(
                    f"{label}: its scale is {own!r}; "
                    'an object such as {"scale": 0.1, "zero_point": 0} was expected'
                ) from error
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                raise DataError(f"{label}: its scale is {own!r}; numbers above 0 were expected")
        elif params is not None and params.qtype.is_integer:
            scale, zero = np.asarray(params.scales), np.asarray(params.zero_points, np.float64)
            axis = params.axis or 0
            self._say(
                tensor,
                "of integers, taken with the scale of the quantizer that reads it; give others "
                "with --scales",
            )
        else:
            raise DataError(f"{label} is of type {array.dtype}; give its scale with --scales")
        if scale.size > 1:
            wide = [-1 if k == axis % array.ndim else 1 for k in range(array.ndim)]
            if scale.size != array.shape[axis % array.ndim]:
                raise DataError(
                    f"{label}: {scale.size} scales were given for {array.shape[axis % array.ndim]} "
                    f"channels along axis {axis}"
                )
            scale = scale.reshape(wide)
            zero = zero.reshape(wide) if zero.size > 1 else zero
        return (array.astype(np.float64) - zero) * scale

    def _say(self, tensor: str, text: str) -> None:
        tensors = self._done.setdefault(text, [])
        if tensor not in tensors:
            tensors.append(tensor)


def _named(tensors: Sequence[str]) -> str:
    """One or several tensors as the beginning of a sentence."""
    first = ", ".join(repr(name) for name in tensors[:_MOST_NAMED])
    more = f" and {len(tensors) - _MOST_NAMED} more" if len(tensors) > _MOST_NAMED else ""
    return f"tensor {first} is" if len(tensors) == 1 else f"tensors {first}{more} are"


def open_dumps(
    source: str | os.PathLike[str] | Mapping[str, Any],
    known: Sequence[str],
    outputs: Sequence[str],
    samples: int,
    scales: str | os.PathLike[str] | None = None,
) -> Dumps:
    """The dumps of a device.

    Args:
        source: a folder with a folder of ``0.npy``, ``1.npy``, ... for each tensor; a folder with a
            file ``TENSOR.npy`` for each; an .npz with an array for each; or such a mapping. One
            array for several samples has them along its first axis. ``/`` and ``:`` of a tensor's
            name are ``_`` in a file's.
        known: names of all tensors of the model.
        outputs: its outputs; files right in the folder called by numbers are those of a single one.
        samples: number of samples that were given to the device.
        scales: a JSON file of tensor to scale, or to an object with scale, zero_point and axis.

    Raises:
        DataError: it cannot be read, names an unknown tensor, or has too few samples.
    """
    where = "the device's outputs" if isinstance(source, Mapping) else f"{os.fspath(source)!r}"
    try:
        raw = _raw(source, outputs, where)
        given = json.loads(Path(scales).read_text("utf-8")) if scales is not None else {}
    except (OSError, ValueError) as error:
        raise DataError(f"the device's outputs {where} cannot be read: {error}") from error
    by_file = {folder_name(name): name for name in known}
    found: dict[str, Sequence[Path | Array]] = {}
    for name, arrays in raw.items():
        tensor = name if name in known else by_file.get(name)
        if tensor is None:
            raise DataError(
                f"the device's outputs {where} have a tensor {name!r}, which the model has not; "
                f"its outputs are {', '.join(outputs)}"
            )
        found[tensor] = _split(arrays, samples, f"{where}: tensor {tensor!r}")
    if not found:
        raise DataError(
            f"the device's outputs {where} hold no tensors; a folder of .npy files for each "
            "tensor, a TENSOR.npy for each, or an .npz was expected"
        )
    if not isinstance(given, dict):
        raise DataError(f"scales {str(scales)!r} hold no object of tensor to scale")
    wide = {n: v if isinstance(v, dict) else {"scale": v} for n, v in given.items()}
    return Dumps(where, found, wide)


def _raw(source: Any, outputs: Sequence[str], where: str) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return dict(source)
    path = Path(source)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    if not path.is_dir():
        what = "is no folder and no .npz" if path.exists() else "do not exist"
        raise DataError(f"the device's outputs {where} {what}")
    found: dict[str, Any] = {}
    for child in sorted(path.iterdir()):
        if child.is_dir():
            files = sorted(child.glob("*.npy"), key=_number)
            if files:
                found[child.name] = files
    own = sorted(path.glob("*.npy"), key=_number)
    if own and not found and len(outputs) == 1 and all(f.stem.isdigit() for f in own):
        return {outputs[0]: own}
    return {**found, **{file.stem: file for file in own}}


def _number(file: Path) -> tuple[float, str]:
    digits = "".join(c if c.isdigit() else " " for c in file.stem).split()
    return (int(digits[-1]) if digits else math.inf, file.name)


def _split(arrays: Any, samples: int, label: str) -> Sequence[Path | Array]:
    """One array or file for each sample."""
    if isinstance(arrays, list | tuple):
        if len(arrays) < samples:
            raise DataError(f"{label} has {len(arrays)} samples; {samples} were expected")
        return list(arrays)[:samples]
    array = np.load(arrays, allow_pickle=False) if isinstance(arrays, Path) else np.asarray(arrays)
    if samples == 1:
        return [array]
    if array.ndim == 0 or len(array) % samples:
        raise DataError(
            f"{label} has shape {list(array.shape)}; its first axis was expected to hold "
            f"{samples} samples"
        )
    rows = len(array) // samples
    return [array[k * rows : (k + 1) * rows] for k in range(samples)]
