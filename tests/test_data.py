"""Calibration data: order, pairing, checks, and errors that say what to do."""

from __future__ import annotations

import gc
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hmct_track.data import CalibrationDataSet, Samples, open_data
from hmct_track.errors import DataError, UsageError
from hmct_track.types import TensorSpec

X = TensorSpec("x", "float32", (1, 3))
ANY_BATCH = TensorSpec("x", "float32", (None, 3))


def sample(value: float, shape: Sequence[int] = (1, 3)) -> np.ndarray:
    return np.full(shape, value, np.float32)


def write(folder: Path, files: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in files.items():
        np.save(folder / name, array)
    return folder


def content(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def firsts(samples: Samples, name: str = "x") -> list[float]:
    """The first value of every sample, which tells the samples of these tests apart."""
    return [float(samples[k][name].flat[0]) for k in range(len(samples))]


# Which file is which sample


@pytest.mark.parametrize(
    "names",
    [
        ["9.npy", "10.npy", "100.npy"],
        ["img_9.npy", "img_10.npy", "img_100.npy"],
        ["7_of_9.npy", "6_of_10.npy", "5_of_11.npy"],
        ["009.npy", "010.npy", "100.npy"],
    ],
)
def test_files_sort_by_their_last_number(tmp_path: Path, names: list[str]) -> None:
    folder = write(tmp_path / "data/x", {n: sample(k) for k, n in enumerate(names)}).parent
    assert firsts(open_data(folder, [X])) == [0, 1, 2]


def test_files_without_a_number_come_last_in_order_of_their_names(tmp_path: Path) -> None:
    files = {"b.npy": sample(2), "a.npy": sample(1), "7.npy": sample(0)}
    assert firsts(open_data(write(tmp_path / "data/x", files).parent, [X])) == [0, 1, 2]


def test_what_is_no_npy_file_is_no_sample(tmp_path: Path) -> None:
    folder = write(tmp_path / "data/x", {"0.npy": sample(0), ".1.npy": sample(1)})
    (folder / "readme.txt").write_text("not a sample")
    write(tmp_path / "data/.hidden", {"0.npy": sample(2)})
    assert firsts(open_data(tmp_path / "data", [X])) == [0]


def test_samples_of_several_inputs_pair_by_number(tmp_path: Path) -> None:
    write(tmp_path / "a", {f"{k}.npy": sample(k) for k in (8, 9, 10)})
    write(tmp_path / "b", {f"part{k:03}.npy": sample(k + 100) for k in (8, 9, 10)})
    inputs = [TensorSpec("b", "float32", (1, 3)), TensorSpec("a", "float32", (1, 3))]
    samples = open_data(tmp_path, inputs)
    assert firsts(samples, "a") == [8, 9, 10]
    assert firsts(samples, "b") == [108, 109, 110]
    assert list(samples[0]) == ["b", "a"]


def test_numbers_that_do_not_pair_are_an_error_that_names_both_files(tmp_path: Path) -> None:
    write(tmp_path / "a", {"0.npy": sample(0), "1.npy": sample(0)})
    write(tmp_path / "b", {"0.npy": sample(0), "2.npy": sample(0)})
    inputs = [TensorSpec(n, "float32", (1, 3)) for n in "ab"]
    with pytest.raises(DataError, match=r"a/1\.npy and .*b/2\.npy would be one sample"):
        open_data(tmp_path, inputs)


@pytest.mark.parametrize("name", ["input.1", "a/b:c/d", "with space;x-[0](1)"])
def test_a_folder_is_named_like_its_input_with_underscores(tmp_path: Path, name: str) -> None:
    folder = name.replace("/", "_").replace(":", "_")
    write(tmp_path / folder, {"0.npy": sample(5)})
    assert firsts(open_data(tmp_path, [TensorSpec(name, "float32", (1, 3))]), name) == [5]


def test_a_folder_may_carry_the_very_name_of_its_input(tmp_path: Path) -> None:
    write(tmp_path / "a:b", {"0.npy": sample(5)})
    assert firsts(open_data(tmp_path, [TensorSpec("a:b", "float32", (1, 3))]), "a:b") == [5]


def test_two_inputs_never_share_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a_b", {"0.npy": sample(5)})
    inputs = [TensorSpec(n, "float32", (1, 3)) for n in ("a/b", "a:b")]
    with pytest.raises(DataError, match=r"'a/b', 'a:b' would share a folder.*mapping"):
        open_data(tmp_path, inputs)


def test_files_right_in_the_folder_are_those_of_a_single_input(tmp_path: Path) -> None:
    write(tmp_path, {"1.npy": sample(1), "0.npy": sample(0)})
    samples = open_data(str(tmp_path), [X])
    assert firsts(samples) == [0, 1]
    assert samples.path == tmp_path


def test_files_right_in_the_folder_do_not_do_for_two_inputs(tmp_path: Path) -> None:
    write(tmp_path, {"0.npy": sample(0)})
    with pytest.raises(DataError, match=r"model has 2 inputs; expected one folder .*'x', 'y_z'"):
        open_data(tmp_path, [X, TensorSpec("y/z", "float32", (1, 3))])


def test_labels_are_the_paths_of_the_files(tmp_path: Path) -> None:
    write(tmp_path / "x", {"0.npy": sample(0), "1.npy": sample(1)})
    assert open_data(tmp_path, [X]).label(1) == str(tmp_path / "x/1.npy")


# Arrays instead of files


@pytest.mark.parametrize("wrap", [lambda d: d, CalibrationDataSet])
@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_has_one_array_per_sample(wrap: type, kind: type) -> None:
    samples = open_data(wrap({"x": kind([sample(4), sample(5)])}), [X])
    assert firsts(samples) == [4, 5]
    assert samples[1]["x"].shape == (1, 3)
    assert samples.path is None
    assert samples.label(1) == "input 'x', sample 1"


def test_of_an_array_with_a_dimension_more_the_first_counts_samples() -> None:
    stacked = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    samples = open_data({"x": stacked}, [TensorSpec("x", "float32", (2, 3))])
    assert len(samples) == 2
    np.testing.assert_array_equal(samples[1]["x"], stacked[1])


@pytest.mark.parametrize(("batch", "count"), [(None, 6), (1, 6), (2, 3), (3, 2)])
def test_rows_of_one_array_are_samples_in_batches_of_the_model(
    batch: int | None, count: int
) -> None:
    rows = np.arange(18, dtype=np.float32).reshape(6, 3)
    samples = open_data({"x": rows}, [TensorSpec("x", "float32", (batch, 3))])
    assert len(samples) == count
    joined = np.concatenate([samples[k]["x"] for k in range(count)])
    np.testing.assert_array_equal(joined, rows)
    assert samples[0]["x"].shape == (6 // count, 3)


def test_rows_that_do_not_fill_the_last_batch_are_an_error() -> None:
    with pytest.raises(DataError, match=r"'x' have 5 rows.*batches of 2"):
        open_data({"x": sample(0, (5, 3))}, [TensorSpec("x", "float32", (2, 3))])


@pytest.mark.parametrize(
    "data", [np.arange(3, dtype=np.float32), [np.array(k, np.float32) for k in range(3)]]
)
def test_an_input_without_dimensions_takes_arrays_without_dimensions(data: object) -> None:
    samples = open_data({"x": data}, [TensorSpec("x", "float32", ())])  # type: ignore[dict-item]
    assert firsts(samples) == [0, 1, 2]
    assert samples[0]["x"].shape == ()


def test_where_the_shape_is_unknown_the_first_dimension_counts_samples() -> None:
    samples = open_data({"x": sample(1, (4, 1, 3))}, [TensorSpec("x", "float32", None)])
    assert [samples[k]["x"].shape for k in range(len(samples))] == [(1, 3)] * 4


@pytest.mark.parametrize("source", [7, [sample(0)], sample(0), None])
def test_data_of_another_type_are_an_error_that_lists_the_types(source: object) -> None:
    with pytest.raises(DataError, match=r"is a \w+; expected the path of a folder, a Calib"):
        open_data(source, [X])  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["calibration_data", 7, [sample(0)], None])
def test_a_data_set_of_what_is_no_mapping_is_an_error(source: object) -> None:
    with pytest.raises(DataError, match=r"expected a mapping.*from_folder takes a path"):
        CalibrationDataSet(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("arrays", ["folder/x", 7, None, {0: sample(0)}])
def test_data_of_an_input_that_are_no_arrays_are_an_error(arrays: object) -> None:
    with pytest.raises(DataError, match=r"data of input 'x' are a .*a list of arrays"):
        open_data({"x": arrays}, [X])  # type: ignore[dict-item]


@pytest.mark.parametrize("item", [[0.0, 1.0], "0.npy", 1.5])
def test_a_sample_that_is_no_array_is_an_error_that_names_it(item: object) -> None:
    with pytest.raises(DataError, match=r"input 'x', sample 1 is a .*an array was expected"):
        open_data({"x": [sample(0), item]}, [X])  # type: ignore[list-item]


# What has to fit the model


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "lack input 'x', 'y'; expected one entry for each of: 'x', 'y'"),
        ({"x": [sample(0)]}, "lack input 'y';"),
        ({"x": [sample(0)], "Y": [sample(0)]}, "lack input 'y' and have 'Y', which the model"),
        ({"x": [sample(0)], "y": [sample(0)], "z": [sample(0)]}, "have 'z', which the model does"),
        ({"x": [sample(0)] * 2, "y": [sample(0)] * 3}, "'x' has 2, 'y' has 3"),
        ({"x": [], "y": []}, "hold no samples"),
    ],
)
def test_names_and_counts_must_fit_the_inputs(data: dict[str, list], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        open_data(data, [X, TensorSpec("y", "float32", (1, 3))])


def test_folders_must_have_the_names_of_the_inputs(tmp_path: Path) -> None:
    write(tmp_path / "image", {"0.npy": sample(0)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, [X])
    assert f"{str(tmp_path)!r} lack input 'x' and have 'image'" in str(caught.value)
    assert "empty" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (X, (1, 3)),
        (ANY_BATCH, (1, 3)),
        (ANY_BATCH, (7, 3)),
        (TensorSpec("x", "float32", (1, None, None)), (1, 5, 2)),
        (TensorSpec("x", "float32", None), (4,)),
    ],
)
def test_a_shape_fits_where_every_fixed_dimension_is_equal(
    spec: TensorSpec, shape: tuple[int, ...]
) -> None:
    assert open_data({"x": [sample(1, shape)]}, [spec])[0]["x"].shape == shape


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (X, (1, 4), "has shape [1, 4]; input 'x' is float32[1, 3]"),
        (X, (2, 3), "has shape [2, 3]; input 'x' is float32[1, 3]"),
        (ANY_BATCH, (1, 4), "has shape [1, 4]; input 'x' is float32[?, 3]"),
        (X, (3,), "has shape [3]; input 'x' is float32[1, 3]; a batch dimension is missing"),
        (X, (1, 1, 3), "has shape [1, 1, 3]; input 'x' is float32[1, 3]"),
    ],
)
def test_a_wrong_shape_is_an_error_that_shows_both_shapes(
    tmp_path: Path, spec: TensorSpec, shape: tuple[int, ...], message: str
) -> None:
    write(tmp_path / "x", {"0.npy": sample(1, shape)})
    with pytest.raises(DataError) as caught:
        open_data(tmp_path, [spec])[0]
    assert str(caught.value) == f"{tmp_path / 'x/0.npy'} {message}"


@pytest.mark.parametrize("dtype", ["float64", "uint8", "float16", "int64", "bool"])
def test_a_wrong_dtype_is_an_error_that_says_how_to_convert(dtype: str) -> None:
    samples = open_data({"x": [np.ones((1, 3), dtype)]}, [X])
    with pytest.raises(DataError, match=rf"sample 0 is {dtype}; .*astype\(numpy\.float32\)"):
        samples[0]


def test_inputs_that_are_not_float_take_their_own_dtype() -> None:
    samples = open_data({"x": [np.array([[1, 2, 3]])]}, [TensorSpec("x", "int64", (1, 3))])
    assert samples[0]["x"].tolist() == [[1, 2, 3]]
    assert len(samples.verify(0)) == 16


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ([np.nan, 0, 0], "1 NaN and 0 infinite values of 3"),
        ([np.inf, -np.inf, np.nan], "1 NaN and 2 infinite values of 3"),
    ],
)
def test_nan_and_inf_are_an_error_that_names_the_file_and_counts_them(
    tmp_path: Path, values: list[float], counted: str
) -> None:
    files = {"0.npy": sample(1), "1.npy": np.array([values], np.float32)}
    write(tmp_path / "x", files)
    samples = open_data(tmp_path, [X])
    samples.verify(0)
    with pytest.raises(DataError, match=rf"x/1\.npy has {counted}; .*mend or remove"):
        samples.verify(1)


# Broken files


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=sample(0))
    return stream.getvalue()


GOOD = content(sample(0))
BROKEN = {
    "empty": (b"", "is empty; write it again"),
    "truncated values": (GOOD[:-1], "damaged or truncated .*write it again"),
    "truncated header": (GOOD[:30], "damaged or truncated .*write it again"),
    "truncated magic": (GOOD[:4], r"not in \.npy format; write it with numpy\.save"),
    "header only": (GOOD[:128], "damaged or truncated .*write it again"),
    "header of another grammar": (_header("{'descr': ("), "damaged or truncated"),
    "header of huge shape": (
        _header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30},)}}"),
        "damaged or truncated",
    ),
    "npz": (_npz(), r"not in \.npy format"),
    "garbage": (b"no array at all" * 9, r"not in \.npy format"),
    "pickled objects": (
        content(np.array([[{}, None, 1]], object)),
        "pickled Python objects, .*save a plain float32 array",
    ),
    "no values": (content(np.zeros((0, 3), np.float32)), r"shape \[0, 3\] and no .*mend or remove"),
    "structured": (content(np.zeros((1, 3), "f4,i4")), r"convert it with astype\(numpy\.float32\)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_a_data_error_that_names_it_and_says_what_to_do(
    tmp_path: Path, kind: str
) -> None:
    broken, advice = BROKEN[kind]
    write(tmp_path / "x", {"0.npy": sample(3)})
    (tmp_path / "x/1.npy").write_bytes(broken)
    samples = open_data(tmp_path, [ANY_BATCH])
    assert samples[0]["x"][0, 0] == 3
    with pytest.raises(DataError, match=advice) as caught:
        samples[1]
    assert str(tmp_path / "x/1.npy") in str(caught.value)


@pytest.mark.parametrize("position", range(128))
def test_whatever_byte_of_a_header_is_lost_only_a_data_error_can_come(
    tmp_path: Path, position: int
) -> None:
    (tmp_path / "0.npy").write_bytes(GOOD[:position] + GOOD[position + 1 :])
    with pytest.raises(DataError, match=r"0\.npy"):
        open_data(tmp_path, [X])[0]


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x/0.npy").mkdir(parents=True)
    with pytest.raises(DataError, match=r"x/0\.npy cannot be read: .*check its permissions"):
        open_data(tmp_path, [X])[0]


def test_an_unreadable_folder_is_an_error_that_speaks_of_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    write(tmp_path / "x", {"0.npy": sample(0)})
    monkeypatch.setattr(Path, "iterdir", refuse)  # chmod does not stop the root of a container
    with pytest.raises(DataError, match=r"cannot be read: .*check the path and its permissions"):
        open_data(tmp_path, [X])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "'.*missing' does not exist; expected a folder that has one folder"),
        ("file.npy", r"'.*file\.npy' is a file; expected a folder"),
        ("empty", r"holds no \.npy files; expected empty/<input name>/0\.npy"),
        ("empty/" + "x" * 300, "cannot be read: .*File name too long"),
    ],
)
def test_a_folder_that_is_none_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty/x").mkdir(parents=True)
    (tmp_path / "file.npy").write_bytes(GOOD)
    with pytest.raises(DataError, match=message):
        open_data(tmp_path / name, [X])


# How many samples


@pytest.mark.parametrize(("data_num", "values"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2])])
def test_data_num_takes_the_first_samples(data_num: int, values: list[float]) -> None:
    samples = open_data({"x": [sample(k) for k in range(3)]}, [X]).first(data_num)
    assert firsts(samples) == values


def test_data_num_none_takes_all_samples() -> None:
    assert firsts(open_data({"x": [sample(k) for k in range(3)]}, [X]).first(None)) == [0, 1, 2]


@pytest.mark.parametrize("data_num", [0, -1, 4])
def test_data_num_out_of_range_is_an_error_that_gives_the_range(data_num: int) -> None:
    samples = open_data({"x": [sample(0)] * 3}, [X])
    with pytest.raises(UsageError, match=rf"data_num is {data_num}; there are 1 to 3 samples"):
        samples.first(data_num)


@pytest.mark.parametrize("data_num", [True, False, "3", 2.0])
def test_data_num_of_another_type_is_an_error(data_num: object) -> None:
    samples = open_data({"x": [sample(0)] * 3}, [X])
    with pytest.raises(UsageError, match="a whole number or None was expected"):
        samples.first(data_num)  # type: ignore[arg-type]


# Values


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
LAYOUTS = {
    "big-endian": VALUES.astype(">f4"),
    "Fortran": np.asfortranarray(VALUES),
    "strided": np.repeat(VALUES, 2, axis=1)[:, ::2],
    "reversed": VALUES[::-1].copy()[::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("saved", [True, False])
def test_the_layout_of_an_array_changes_neither_values_nor_hash(
    tmp_path: Path, layout: str, saved: bool
) -> None:
    write(tmp_path, {"0.npy": LAYOUTS[layout]})
    samples = open_data(tmp_path if saved else {"x": [LAYOUTS[layout]]}, [ANY_BATCH])
    loaded = samples[0]["x"]
    np.testing.assert_array_equal(loaded, VALUES)
    assert loaded.flags.c_contiguous
    assert loaded.dtype.isnative
    assert samples.verify(0) == open_data({"x": [VALUES]}, [ANY_BATCH]).verify(0)


def sample_id(array: np.ndarray, name: str = "x") -> str:
    return open_data({name: [array]}, [TensorSpec(name, array.dtype.name, None)]).verify(0)


def test_the_hash_depends_on_every_bit() -> None:
    base = np.ones((2, 3), np.float32)
    ids = {sample_id(base)}
    for byte in range(base.nbytes):
        for bit in range(8):
            raw = bytearray(base.tobytes())
            raw[byte] ^= 1 << bit
            changed = np.frombuffer(raw, np.float32).reshape(2, 3)
            if np.isfinite(changed).all():
                ids.add(sample_id(changed))
    # Of a 1.0 one bit leads to infinity.
    assert len(ids) == 1 + base.nbytes * 8 - base.size


def test_the_hash_depends_on_name_shape_and_dtype() -> None:
    zeros = np.zeros((2, 3), np.float32)
    variants = [
        sample_id(zeros),
        sample_id(zeros, "y"),
        sample_id(zeros.reshape(3, 2)),
        sample_id(zeros.reshape(6)),
        sample_id(zeros.astype(np.int32)),
        sample_id(zeros.astype(np.float16).repeat(2, axis=0)),
    ]
    assert len(set(variants)) == len(variants)


def test_the_hash_depends_on_which_input_has_which_array() -> None:
    inputs = [TensorSpec(n, "float32", (1, 3)) for n in "ab"]
    one = open_data({"a": [sample(1)], "b": [sample(2)]}, inputs).verify(0)
    other = open_data({"a": [sample(2)], "b": [sample(1)]}, inputs).verify(0)
    assert one != other


# Memory


LAZILY = """
import resource, sys
from hmct_track.data import open_data
from hmct_track.types import TensorSpec

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

samples = open_data(sys.argv[1], [TensorSpec("x", "float32", (1, 3, 512, 1024))])
samples.verify(0)
before = peak()
for k in range(len(samples)):
    samples.verify(k)
for k in range(len(samples)):
    assert samples[k]["x"][..., ::512].sum() == 0
print(len(samples), peak() - before)
"""


def test_samples_are_loaded_one_at_a_time(tmp_path: Path) -> None:
    shape = (1, 3, 512, 1024)
    for k in range(60):  # sparse files: no time and no disk
        np.lib.format.open_memmap(tmp_path / f"{k}.npy", "w+", np.float32, shape)
    one = 4 * int(np.prod(shape))
    command = [sys.executable, "-c", LAZILY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == 60
    assert grown < 6 * one, f"memory grew by {grown / one:.1f} samples"


def test_threads_may_load_samples_at_the_same_time(tmp_path: Path) -> None:
    """GIVEN garbage collections with callbacks, in which threads change
    THEN none of many loads fails: Python 3.11's ast, which NumPy reads headers with, would.
    """
    for k in range(64):
        np.save(tmp_path / f"{k}.npy", np.zeros((1, 4), np.float32))
    samples = open_data(tmp_path, (TensorSpec("x", "float32", (1, 4)),))
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(noticed := lambda *_: sum(range(300)))
    gc.set_threshold(5)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            loaded = list(threads.map(lambda k: samples[k % 64], range(1280)))
    finally:
        gc.callbacks.remove(noticed)
        gc.set_threshold(*before)
        sys.setswitchinterval(interval)
    assert len(loaded) == 1280
