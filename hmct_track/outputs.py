"""What of a model's outputs is compared: a tensor, or a part of one, and whether in its own units.

Written as ``NAME``, ``NAME[SLICES]``, ``NAME/rms(AXIS)`` or ``NAME[SLICES]/rms(AXIS)``, such as
``output0[:, 4:]/rms(1)``. Nothing here imports NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from types import EllipsisType
from typing import NamedTuple

from hmct_track.errors import UnknownNodeError, UsageError


class Span(NamedTuple):
    """A slice: from ``start`` up to ``stop``, negative ones counted from the end."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __str__(self) -> str:
        start, stop, step = ("" if v is None else str(v) for v in self)
        return f"{start}:{stop}" + (f":{step}" if step else "")


Place = int | Span | EllipsisType
"""What is taken along one axis; ``...`` for all of as many axes as are left."""

_FORM = re.compile(r"(?P<tensor>.+?)(?P<slices>\[[^\[\]]*\])?(?P<rms>/rms\((?P<axis>[^()]*)\))?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,9}")
_HINT = "expected is NAME[SLICES]/rms(AXIS), such as output0[:, 4:]/rms(1)"


@dataclass(frozen=True)
class Output:
    """An output to compare.

    ``str`` gives its canonical text, under which measurements are kept; `parse` reads it back.
    """

    tensor: str
    slices: tuple[Place | slice, ...] = ()
    """What of it is compared, by the rules of NumPy's basic slicing; a step is above 0."""
    rms_axis: int | None = None
    """The axis of what is compared whose channels are each divided by their own magnitude.

    Channel ``c`` of the float output ``x`` and of the quantized ``y`` is divided by
    ``rms_c = sqrt(mean(x_c^2))``, over the finite values of ``x_c`` in the sample at hand, so that
    every channel weighs the same. Where it is 0, the channel stays as it is.
    """

    def __post_init__(self) -> None:
        slices = [_canonical(place) for place in self.slices]
        if slices.count(...) > 1:
            raise UsageError(f"the slices of output {self.tensor!r} have more than one '...'")
        # Axes at the end that are taken whole need no name, unless they are counted from there.
        whole = (Span(), ...)
        while slices and slices[-1] in whole and (slices[-1] is ... or ... not in slices):
            slices.pop()
        if all(place in whole for place in slices):
            slices = []
        object.__setattr__(self, "slices", tuple(slices))

    @classmethod
    def parse(cls, text: str, tensors: Collection[str]) -> Output:
        """The output that ``text`` writes.

        Args:
            text: the name of a tensor, which stands for itself whatever it looks like, or a part.
            tensors: the names of all tensors.

        Raises:
            UnknownNodeError: there is no such tensor.
            UsageError: what follows the name is not understood.
        """
        if text in tensors:
            return cls(text)
        form = _FORM.fullmatch(text)
        if form is None or form["tensor"] not in tensors:
            tensor = form["tensor"] if form else text
            if any(c in tensor for c in "[]") or "/rms(" in tensor:
                raise UsageError(f"output {text!r} is not understood; {_HINT}")
            raise UnknownNodeError(tensor, tensors, what="tensor")
        axis = None
        if form["rms"]:
            axis = _whole(form["axis"].strip(), text)
        slices = form["slices"]
        return cls(form["tensor"], _parse_slices(slices, text) if slices else (), axis)

    def __str__(self) -> str:
        text = self.tensor
        if self.slices:
            text += f"[{', '.join('...' if p is ... else str(p) for p in self.slices)}]"
        return text if self.rms_axis is None else f"{text}/rms({self.rms_axis})"


def _canonical(place: Place | slice) -> Place:
    if place is ... or isinstance(place, int):
        return place
    start, stop, step = (place.start, place.stop, place.step) if isinstance(place, slice) else place
    if step is not None and step < 1:
        raise UsageError(f"the step of a slice of an output is {step}; give one above 0")
    return Span(start or None, stop, None if step == 1 else step)


def _parse_slices(text: str, whole: str) -> tuple[Place, ...]:
    places: list[Place] = []
    for item in text[1:-1].split(","):
        parts = [part.strip() for part in item.split(":")]
        if parts == ["..."]:
            places.append(...)
        elif len(parts) == 1:
            places.append(_whole(parts[0], whole))
        elif len(parts) <= len(Span._fields):
            places.append(Span(*(_whole(part, whole) if part else None for part in parts)))
        else:
            raise UsageError(f"output {whole!r}: {item.strip()!r} is not a slice; {_HINT}")
    return tuple(places)


def _whole(text: str, whole: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise UsageError(f"output {whole!r}: {text!r} is not a whole number; {_HINT}")
    return int(text)
