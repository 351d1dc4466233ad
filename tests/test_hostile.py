"""Model files and data from someone who means ill: an answer, or one line and exit code 2.

The files of ``tests/data/hostile`` are the smallest of their kinds that a fuzzer found, each with
the analysis that it broke.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hmct_track.cli.main import main
from hmct_track.engine import Engine, histogram
from hmct_track.errors import DataError, EngineError, ModelError
from hmct_track.model import Lowering, inference, load_model
from hmct_track.types import QuantConfig
from tests.support.graphs import calibration, model, two_convolutions

FILES = Path(__file__).parent / "data" / "hostile"
TEXT = r"is not UTF-8 text; .*export it again"
FUNCTION = r"function 'F' of domain 'fd' calls itself"

# File, command with its options, and what it says; None is an answer.
CASES: list[tuple[str, str, str | None]] = [
    ("fz00_s2d", "plot-acc-error -nq [Conv_0]", "node 's2d'.*block_width=100000; blocks of 1 to"),
    ("fz01_constofshape", "get-sensitivity-of-nodes", r"'CoS' .* float32\[40000, 40000\]"),
    ("fz02_byte_bit", "get-sensitivity-of-nodes", rf"node b'P\\xefol_4' {TEXT}"),
    ("fz03_byte_flip", "plot-acc-error -nq [Conv_4]", rf"tensor b'blocks.3\\xc1.*' {TEXT}"),
    ("fz04_init_zero", "get-channelwise-data-distribution -n [w2_cal]", "no channels along axis"),
    ("fz05_init_dtype", "get-sensitivity-of-nodes", "constant 'w2' has element type -1"),
    ("fz06_init_dtype", "select-sensitive-samples", "constant 'w1' has element type 0"),
    ("fz07_domain", "get-sensitivity-of-nodes", None),
    ("fz08_in_type", "get-sensitivity-of-nodes", "'x' has element type -1"),
    ("fz09_big_reshape", "sensitivity-analysis", r"'Exp' \(Expand\), would take 17179869184 GiB"),
    ("fz10_cal_thr_only", "get-sensitivity-of-nodes", "'w1_cal', attribute thresholds: .*too near"),
    ("fz11_byte_bit", "get-sensitivity-of-nodes", rf"attribute b't\\xe8resholds' {TEXT}"),
    ("fz12_init_dtype-fn", "get-sensitivity-of-nodes", FUNCTION),
    ("fz13_byte_bit", "get-sensitivity-of-nodes", rf"op_type b'Hz.*' of node 'in_cal' {TEXT}"),
    ("fz14_byte_flip", "get-sensitivity-of-nodes", rf"output b'.*' of node '329_Hz.*' {TEXT}"),
    ("fz15_byte_flip", "inspect", rf"name b'\\xdeq_Q' {TEXT[3:]}|of node b'\\xdeq_Q' {TEXT}"),
    ("fz16_byte_flip", "get-sensitivity-of-nodes", rf"input b'r\\xd4_c' of node 'Conv_2' {TEXT}"),
    ("fz17_byte_flip", "get-sensitivity-of-nodes", rf"of node 'w2_cal' {TEXT}"),
    ("fz18_byte_bit", "get-sensitivity-of-nodes", rf"tensor b'b\\xb3' {TEXT}"),
    ("fz19_byte_flip", "get-channelwise-data-distribution -n w_DQ", rf"of node 'Conv_0' {TEXT}"),
    ("fz20_fn", "get-sensitivity-of-nodes", FUNCTION),
    ("fz21_init_string", "get-channelwise-data-distribution -n w1_cal", "'w1' of type string"),
    ("fz22_byte_splice", "plot-distribution -n [*]", None),
    ("fz23_attr_ref", "get-sensitivity-of-nodes", "'w1_cal'.*attribute scales refers to 'foo'"),
    ("fz24_dup_init", "plot-acc-error -nq [Conv_0]", "constant 'w_z' is written twice"),
    ("fz25_io_count-name_suffix", "get-sensitivity-of-nodes", r"Node\(a_3\) .*input size 0"),
    ("fz26_init_dims", "plot-distribution -n [xq_Q]", r"'w2f' has shape \[9223372036854775807\]"),
    ("fz27_init_string", "select-sensitive-samples", "'xq_Q'.*type 'string' is not supported"),
    ("fz28_init_dims", "get-sensitivity-of-nodes", "constant 'xq_z' is broken: cannot reshape"),
    ("s2d_blocks", "get-sensitivity-of-nodes", "node 's2d'.*block_height=10000"),
    ("narrow_float", "calibrate --asymmetric True -m mse -o made.onnx", None),
    ("dup_calibration", "get-sensitivity-of-nodes", "'w1_c' is made twice, by node 'w1_cal'"),
    ("two_heads", "get-sensitivity-of-nodes -m [sqnr,mse]", None),
]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_data(file: Path, folder: Path) -> Path:
    """Two samples for a model of one input, its dynamic dimensions taken as 1."""
    (value,) = onnx.load(file, load_external_data=False).graph.input
    shape = [d.dim_value or 1 for d in value.type.tensor_type.shape.dim]
    (folder / value.name).mkdir(parents=True)
    for k in range(2):
        sample = np.random.default_rng(k).standard_normal(shape).astype(np.float32)
        np.save(folder / value.name / f"{k}.npy", sample)
    return folder


def test_every_hostile_file_has_a_case() -> None:
    assert sorted(name for name, _, _ in CASES) == sorted(f.stem for f in FILES.iterdir())


def test_a_place_of_external_data_that_is_not_text_is_told(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(64, np.float32), "w")
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    proto = model([node], {"x": [64]}, ("y",), {})
    proto.graph.initializer.append(weight)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights", size_threshold=0)
    path.write_bytes(path.read_bytes().replace(b"weights", b"we\xe9ghts"))
    with pytest.raises(ModelError, match="external data in what is not UTF-8 text"):
        load_model(path)


@pytest.mark.parametrize(("name", "command", "message"), CASES, ids=[c[0] for c in CASES])
def test_a_hostile_file(
    name: str,
    command: str,
    message: str | None,
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(inference, "total_memory", lambda: 16 << 30)
    file = FILES / f"{name}.onnx"
    command, *options = command.split()
    subject = [str(file)]
    if command != "inspect":
        subject.append(str(write_data(file, in_folder / "data")))
        options += ["--no-track"] * (command != "calibrate")

    code = main([command, *subject, *options])

    said = capfd.readouterr().err
    if message is None:
        assert code == 0, said
        return
    assert code == 2, said
    (line,) = [line for line in said.splitlines() if "the graph decides" not in line]
    assert line.startswith("hmct-debugger: error: ")
    assert len(line) <= 300
    assert re.search(message, line)
    assert [p.name for p in in_folder.iterdir() if p.name != "data"] in ([], ["hmct_lake"])


def graph_with(node: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """x -> calibration -> ``node``, which reads ``q`` -> y."""
    return model([calibration("x", "q", "c"), node], constants=constants)


def functions(*bodies: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A model that calls F0 of functions F0, F1, ... of these bodies, from ``a`` to ``b``."""
    proto = graph_with(helper.make_node("F0", ["q"], ["y"], "call", domain="fd"))
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("fd", 1)]
    proto.opset_import.append(helper.make_opsetid("fd", 1))
    for k, body in enumerate(bodies):
        proto.functions.append(helper.make_function("fd", f"F{k}", ["a"], ["b"], body, opsets))
    return proto


def doubling(depth: int) -> list[list[onnx.NodeProto]]:
    """Functions of which each calls the next one twice."""

    def call(name: str, source: str, target: str) -> onnx.NodeProto:
        if name == f"F{depth}":
            return helper.make_node("Relu", [source], [target])
        return helper.make_node(name, [source], [target], domain="fd")

    return [[call(f"F{k}", "a", "m"), call(f"F{k}", "m", "b")] for k in range(1, depth + 1)]


def deep(levels: int) -> onnx.ModelProto:
    """Ifs inside each other."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("Identity", ["q"], ["y"])
    other = helper.make_graph([node], "else", [], [value])
    for _ in range(levels):
        body = helper.make_graph([node], "then", [], [value])
        node = helper.make_node("If", ["true"], ["y"], then_branch=body, else_branch=other)
    return graph_with(node, true=np.array(True))


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (lambda: functions(*doubling(24)), "function 'F0' stands for .* nodes, more than 1000000"),
        (
            lambda: functions([calibration("a", "b", "inner")]),
            r"'inner' \(HzCalibration\) is inside function 'F0'",
        ),
        (lambda: deep(31), "subgraphs may lie about 30 deep"),
        (
            lambda: graph_with(helper.make_node("Constant", [], ["y"], "k")),
            r"node 'k' \(Constant\) has 0 attributes",
        ),
        (
            lambda: graph_with(helper.make_node("Relu", ["q"], ["q"], "twice")),
            "'q' is made twice, by node 'c' .* and by node 'twice'",
        ),
        (
            lambda: graph_with(helper.make_node("Relu", ["q"], ["x"], "over")),
            "'x' is made twice, by an input and by node 'over'",
        ),
    ],
    ids=["doubling", "quantizer in a function", "deep", "constant", "twice", "over input"],
)
def test_a_model_that_means_nothing(proto: Callable[[], onnx.ModelProto], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(proto())


def test_functions_that_call_each_other_a_few_times_are_read() -> None:
    assert load_model(functions(*doubling(3))).general_nodes


def test_an_axis_no_tensor_has() -> None:
    with pytest.raises(ModelError, match="'1_HzCalibration', attribute axis: -1099511627776 is"):
        load_model(two_convolutions(scales=[0.1, 0.2], qtype="int8", axis=-(2**40)))


@pytest.mark.parametrize(
    ("domain", "wrong"), [("ai.onnx", False), ("com.microsoft", True)], ids=["alias", "unknown"]
)
def test_a_model_that_inference_does_not_take_is_analysed(domain: str, wrong: bool) -> None:
    """The numbers are those of the same model in the standard domain."""
    usual = two_convolutions()
    odd = onnx.ModelProto()
    odd.CopyFrom(usual)
    odd.graph.node[3].domain = domain
    if wrong:  # an operator that onnxruntime has and ONNX does not know
        odd.graph.node[3].op_type = "BiasGelu"
        odd.graph.node[3].input.append("bias")
        odd.graph.initializer.append(numpy_helper.from_array(np.zeros(5, np.float32), "bias"))
        usual.graph.node[3].op_type, usual.graph.node[3].domain = "Gelu", ""
        usual.opset_import[0].version = odd.opset_import[0].version = 20
        usual.ir_version = odd.ir_version = 10
        odd.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 5)).astype(np.float32)
    configs = [QuantConfig.only([f"{k}_HzCalibration"]) for k in range(1, 5)]

    def measured(proto: onnx.ModelProto) -> list[float]:
        found = Engine(load_model(proto)).evaluate(configs, {"0": {"x": x}}, ["y"])
        return [m.statistics.sum_dd for m in sorted(found, key=lambda m: m.config_id)]

    assert measured(odd) == pytest.approx(measured(usual), rel=1e-4)


def test_an_output_of_another_type_than_declared_is_told() -> None:
    proto = two_convolutions()
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match="output 'y' is declared int64 but the graph makes it flo"):
        Engine(load_model(proto)).output_tensors(["y"])


@pytest.mark.parametrize("op", ["Bernoulli", "RandomUniformLike", "RandomNormalLike"])
def test_random_ops_without_a_seed_are_refused_by_name(op: str) -> None:
    proto = graph_with(helper.make_node(op, ["q"], ["y"], "dice"))
    with pytest.raises(ModelError, match=rf"node 'dice' \({op}\) draws random numbers without a"):
        Engine(load_model(proto))


def test_a_size_is_found_inside_bodies_and_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "total_memory", lambda: 16 << 30)
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "value")
    inner = [
        helper.make_node("Constant", [], ["s"], value=shape),
        helper.make_node("ConstantOfShape", ["s"], ["large"], "Large"),
        helper.make_node("ReduceMax", ["large"], ["m"], keepdims=0),
        helper.make_node("Add", ["a", "m"], ["b"]),
    ]
    with pytest.raises(ModelError, match=r"'large__\d'.* would take 4096 GiB"):
        Engine(load_model(functions(inner))).output_tensors(["y"])
    value = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    inner[-1].input[0] = "q"
    body = helper.make_graph(inner, "body", [], [value])
    branch = helper.make_node("If", ["true"], ["y"], then_branch=body, else_branch=body)
    with pytest.raises(ModelError, match="'large' would take 4096 GiB"):
        Engine(load_model(graph_with(branch, true=np.array(True)))).output_tensors(["y"])


def test_a_size_is_found_for_the_shapes_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "total_memory", lambda: 1 << 20)
    proto = graph_with(helper.make_node("Relu", ["q"], ["y"], "R"))
    engine = Engine(load_model(proto))
    x = np.zeros((1 << 15, 4), np.float32)
    with pytest.raises(ModelError, match="would take"):
        list(engine.evaluate([QuantConfig.only(["c"])], {"0": {"x": x}}, ["y"]))
    with pytest.raises(ModelError, match="would take"):
        next(engine.observe(QuantConfig(), {"0": {"x": x}}, ["y"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_pipe_among_the_data_or_as_the_model_is_refused(tmp_path: Path) -> None:
    from hmct_track.data import CalibrationDataSet

    proto = two_convolutions()
    (tmp_path / "data" / "x").mkdir(parents=True)
    os.mkfifo(tmp_path / "data" / "x" / "0.npy")
    samples = CalibrationDataSet.from_folder(tmp_path / "data").bind(load_model(proto).inputs)
    with pytest.raises(DataError, match=r"0\.npy is not a regular file"):
        samples[0]
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("outside", [False, True])
def test_external_data_in_a_pipe_or_outside_the_folder_are_refused(
    outside: bool, tmp_path: Path
) -> None:
    proto = two_convolutions()
    tensor = proto.graph.initializer[0]
    os.mkfifo(tmp_path / "weights")
    (tmp_path / "secret").write_bytes(tensor.raw_data)
    (tmp_path / "here").mkdir()
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret" if outside else "weights")
    file = (tmp_path / "here" if outside else tmp_path) / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="external data"):
        load_model(file)


def test_a_random_op_that_hardly_ever_draws_is_found_by_its_numbers() -> None:
    """One value in fifty is another; two runs are mostly the same."""
    dice = helper.make_node("Bernoulli", ["p"], ["b"], seed=7.0)
    add = helper.make_node("Add", ["q", "b"], ["y"])
    proto = model(
        [calibration("x", "q", "c"), dice, add],
        {"x": [1, 1]},
        constants={"p": np.full((1, 1), 0.02, np.float32)},
        opset=15,
    )
    x = np.ones((1, 1), np.float32)
    with pytest.raises(EngineError, match="from one run to the next"):
        list(Engine(load_model(proto)).evaluate([QuantConfig.only(["c"])], {"0": {"x": x}}, ["y"]))


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, np.nextafter(1.0, 2)]),
        np.array([-(2**60), np.nextafter(-(2.0**60), 0)]),
        np.array([1e30, 1e30]),
        np.array([0, 5e-324]),
        np.array([1, np.nextafter(np.float32(1), 2)], np.float32),
        np.array([3.0, 3.0]),
    ],
)
def test_values_that_are_nearly_alike_have_a_histogram(values: np.ndarray) -> None:
    edges, counts = histogram([values], 2048)
    assert counts.sum() == 2
    assert np.all(np.diff(edges) > 0)
    assert edges[0] <= values.min() <= values.max() <= edges[-1]


def slices(*before: onnx.NodeProto, shape: Sequence[int | None]) -> onnx.ModelProto:
    """x -> calibration -> ``before``, from q to p -> Slice -> y."""
    cut = helper.make_node("Slice", ["p", "zero", "two"], ["y"], "Cut")
    nodes = [calibration("x", "q", "c"), *before, cut]
    constants = {
        "zero": np.array([0]),
        "two": np.array([2]),
        "less": np.array([-9, 0, 0, 0, 0, 0, 0, 0]),
        "shape": np.array([-5, 1, 1, 1]),
    }
    return model(nodes, {"x": shape}, constants=constants)


@pytest.mark.parametrize(
    "before",
    [
        helper.make_node("MaxPool", ["q"], ["p"], kernel_shape=[20, 20]),
        helper.make_node("Pad", ["q", "less"], ["p"]),
        helper.make_node("Expand", ["q", "shape"], ["p"]),
    ],
    ids=lambda node: node.op_type,
)
def test_negative_sizes_before_a_slice_do_not_end_the_process(before: onnx.NodeProto) -> None:
    """ONNX and onnxruntime call abort() at such a node."""
    with pytest.raises(ModelError, match=r"'Cut' \(Slice\) reads 'p', whose sizes would be \["):
        Engine(load_model(slices(before, shape=[1, 2, 8, 8]))).output_tensors(["y"])


def test_slices_behind_each_other_are_inferred() -> None:
    nodes = [
        helper.make_node("Slice", [f"s{k}" if k else "q", "one", "far"], [f"s{k + 1}"])
        for k in range(20)
    ]
    ends = {"one": np.array([1]), "far": np.array([1000])}
    relu = helper.make_node("Relu", ["s20"], ["y"])
    proto = model([calibration("x", "q", "c"), *nodes, relu], {"x": [30, 4]}, constants=ends)
    specs = Lowering(load_model(proto)).specs
    assert [specs[f"s{k}"].shape for k in (1, 5, 20)] == [(29, 4), (25, 4), (10, 4)]
    assert specs["y"].shape == (10, 4)


@pytest.mark.parametrize("unknown", [-1, 0])
def test_sizes_that_exporters_do_not_know_are_no_sizes(unknown: int) -> None:
    """Of such an input onnxruntime gave other numbers in each run."""
    node = helper.make_node(
        "HzSpaceToDepth", ["q"], ["y"], domain="horizon", block_height=2, block_width=2
    )
    proto = model([calibration("x", "q", "c"), node], {"x": [1, 3, unknown, 8]})
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (found,) = Engine(load_model(proto)).observe(QuantConfig(), {"0": {"x": x}}, ["y"])
    split = x.reshape(1, 3, 4, 2, 4, 2).transpose(0, 3, 5, 1, 2, 4)
    np.testing.assert_array_equal(found["y"], split.reshape(1, 12, 4, 4))


def chain_of_constants(length: int) -> onnx.ModelProto:
    links = [helper.make_node("Identity", [f"k{i}"], [f"k{i + 1}"]) for i in range(length)]
    add = helper.make_node("Add", ["q", f"k{length}"], ["y"])
    constants = {"k0": np.ones(4, np.float32)}
    return model([calibration("x", "q", "c"), *links, add], constants=constants)


def chain_of_calibrations(length: int) -> onnx.ModelProto:
    links = [calibration(f"q{i}", f"q{i + 1}", f"c{i}") for i in range(length)]
    relu = helper.make_node("Relu", [f"q{length}"], ["y"])
    return model([calibration("x", "q0", "c"), *links, relu])


def chain_of_one_name(length: int) -> onnx.ModelProto:
    """Each node needs a name of its own; looking for one must not take the longer the more."""
    links = [helper.make_node("Identity", [f"q{i}"], [f"q{i + 1}"], "same") for i in range(length)]
    relu = helper.make_node("Relu", [f"q{length}"], ["y"])
    return model([calibration("x", "q0", "c"), *links, relu])


@pytest.mark.parametrize("chain", [chain_of_constants, chain_of_calibrations, chain_of_one_name])
def test_long_chains_neither_overflow_the_stack_nor_take_for_ever(
    chain: Callable[[int], onnx.ModelProto],
) -> None:
    began = time.process_time()
    loaded = load_model(chain(2000))
    assert len(set(loaded.node_names)) == len(loaded.node_names)
    lowered = onnx.load_from_string(Lowering(loaded).lower(QuantConfig()).proto)
    assert len(lowered.graph.node) == 2002
    assert time.process_time() - began < 60
