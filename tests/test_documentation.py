"""Every API snippet and command line of the documentation, run as the documentation has it.

The model is the demo's with nodes renamed to the names that the documentation uses. Snippets keep
their import line, ``import horizon_nn.debug as dbg``, and run through ``hmct_track.compat``.
Command lines go through a real shell, which eats their quotes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from hmct_track import demo

NAMES = {
    "Conv_10": "Conv_90",
    "307_HzCalibration": "317_HzCalibration",
    "317_HzCalibration": "307_HzCalibration",
    "308_HzCalibration": "471_HzCalibration",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the documentation speaks of."""
    place = tmp_path_factory.mktemp("documentation")
    model = onnx.load(demo.model_path())
    for node in model.graph.node:
        node.name = NAMES.get(node.name, node.name)
    onnx.save(model, place / "calibrated_model.onnx")
    for name in ("calibration_data", "calibrated_data"):
        shutil.copytree(demo.calibration_data_path(), place / name)
        for file in (place / name).glob("input/*.npy"):
            if int(file.stem) > 2:
                file.unlink()
    return place


SENSITIVITY = """
# Import the debug module
import horizon_nn.debug as dbg
# Import the log module
import logging
# If verbose=True, you need to set the log level to INFO first.
logging.getLogger().setLevel(logging.INFO)
# Get node quantization sensitivity
node_message = dbg.get_sensitivity_of_nodes(
    model_or_file='./calibrated_model.onnx',
    metrics=['cosine-similarity', 'mse'],
    calibrated_data='./calibration_data/',
    output_node=None,
    node_type='node',
    data_num=None,
    verbose=True,
    interested_nodes=None)
"""

ACCUMULATION = """
# Import the debug module
import horizon_nn.debug as dbg
dbg.plot_acc_error(
    save_dir='./',
    calibrated_data='./calibration_data/',
    model_or_file='./calibrated_model.onnx',
    {selection},
    metric='cosine-similarity',
    average_mode={average})
"""

TEST_SKILLS = """
# Import the debug module
import horizon_nn.debug as dbg
# First, use the quantization sensitivity sorting function to obtain the quantization sensitivity
# sorting of the nodes in the model
node_message = dbg.get_sensitivity_of_nodes(
    model_or_file='./calibrated_model.onnx',
    metrics='cosine-similarity',
    calibrated_data='./calibration_data/',
    output_node=None,
    node_type='node',
    verbose=False,
    interested_nodes=None)
# node_message is a dictionary type, and its key value is the node name
nodes = list(node_message.keys())
# Specify the unquantized nodes by nodes, which can be easily used
dbg.plot_acc_error(
    save_dir='./',
    calibrated_data='./calibration_data/',
    model_or_file='./calibrated_model.onnx',
    non_quantize_node=[nodes[:1], nodes[:2]],
    metric='cosine-similarity',
    average_mode=True)
"""

DISTRIBUTION = """
# Import the debug module
import horizon_nn.debug as dbg
dbg.plot_distribution(
    save_dir='./',
    model_or_file='./calibrated_model.onnx',
    calibrated_data='./calibration_data',
    nodes_list=['317_HzCalibration', # Activation Node
                '471_HzCalibration', # Weight Node
                'Conv_2']) # Common Node
"""

PARTIAL = """
import horizon_nn.debug as dbg
dbg.sensitivity_analysis(model_or_file='calibrated_model.onnx', calibrated_data='calibration_data',
                         pick_threshold=0.9999, data_num=1, sensitive_nodes=[])
"""

RUNALL = """
import horizon_nn.debug as dbg
dbg.runall(model_or_file='calibrated_model.onnx', calibrated_data='calibration_data')
"""

SELECTIONS = {
    "quantize_node=['Conv_2', 'Conv_90']": False,
    "quantize_node=[['Conv_2'], ['Conv_2', 'Conv_90']]": False,
    "non_quantize_node=['Conv_2', 'Conv_90']": True,
    "non_quantize_node=[['Conv_2'], ['Conv_2', 'Conv_90']]": False,
    "quantize_node=['weight', 'activation']": False,
}

SNIPPETS = [
    SENSITIVITY,
    *(ACCUMULATION.format(selection=s, average=average) for s, average in SELECTIONS.items()),
    TEST_SKILLS,
    DISTRIBUTION,
    PARTIAL,
    RUNALL,
]

COMMANDS = [
    "hmct-debugger get-sensitivity-of-nodes calibrated_model.onnx calibration_data "
    "-m ['cosine-similarity','mse'] -v True",
    "hmct-debugger plot-acc-error calibrated_model.onnx calibrated_data -q ['Conv_2','Conv_90']",
    "hmct-debugger plot-acc-error calibrated_model.onnx calibration_data "
    "-q [['Conv_2'],['Conv_2','Conv_90']]",
    "hmct-debugger plot-acc-error calibrated_model.onnx calibration_data "
    "-nq ['Conv_2','Conv_90'] -a True",
    "hmct-debugger plot-acc-error calibrated_model.onnx calibration_data "
    "-nq [['Conv_2'],['Conv_2','Conv_90']]",
    "hmct-debugger plot-acc-error calibrated_model.onnx calibration_data "
    "-q ['weight','activation']",
    "hmct-debugger plot-distribution calibrated_model.onnx calibration_data "
    "-n ['317_HzCalibration','471_HzCalibration','Conv_2']",
    "hmct-debugger sensitivity-analysis calibrated_model.onnx calibration_data",
    "hmct-debugger runall calibrated_model.onnx calibration_data",
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_api_snippets_run_unchanged(folder: Path, code: str) -> None:
    script = folder / "snippet.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "hmct_track.compat", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ("node sensitivity" in done.stdout) == ("verbose=True" in code)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_run_in_a_shell(folder: Path, command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{command} --no-track"],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
