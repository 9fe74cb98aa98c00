"""ONNX nets of users (issue 4, point 3): run as their card says, and refused where card and file don't agree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from crimeface_lib.core.errors import (
    InputError,
    IntegrityError,
    MissingArtifactError,
    MissingBackendError,
    RefusedError,
    ShapeError,
)
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.faces.align import ARCFACE_TEMPLATE
from crimeface_lib.recognition import OnnxEmbedder, embed_images, load_embedder, read_card

SIDE, D = 32, 6
RNG = np.random.default_rng(5)
KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
WEIGHTS = RNG.normal(size=(4, D)).astype(np.float32)
BIAS = RNG.normal(size=D).astype(np.float32)
CHIPS = RNG.integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)


def write_net(
    path: Path,
    *,
    batch: Any = "N",
    half: bool = False,
    nhwc: bool = False,
    weights: np.ndarray = WEIGHTS,
    ends: int = 1,
) -> None:
    """Write convolution → ReLU → mean → linear layer, the smallest net of the kind, with the ``onnx`` package."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    kind, number = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    stored = {"kernel": KERNEL, "weights": weights, "bias": BIAS[: weights.shape[1]]}
    first = [helper.make_node("Transpose", ["chips"], ["planes"], perm=[0, 3, 1, 2])] if nhwc else []
    nodes = [
        *first,
        helper.make_node("Conv", ["planes" if nhwc else "chips", "kernel"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "weights", "bias"], ["template"]),
    ]
    shape = [batch, SIDE, SIDE, 3] if nhwc else [batch, 3, SIDE, SIDE]
    outputs = [helper.make_tensor_value_info("template", kind, [batch, weights.shape[1]])]
    outputs += [helper.make_tensor_value_info("d", kind, [batch, 4])] * (ends - 1)
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("chips", kind, shape)], outputs,
        [numpy_helper.from_array(value.astype(number), name) for name, value in stored.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


def write_card(path: Path, **changed: Any) -> Path:
    """Write the card of ``net.onnx``; None leaves a field out."""
    net = path.parent / "net.onnx"
    said = {
        "name": "tiny", "file": net.name, "sha256": sha256_file(net) if net.exists() else "0" * 64, "licence": "MIT",
        "source": "made by this test", "intended_use": "tests", "dimension": D, "size": SIDE, "template": "arcface112",
        "channels": "RGB", "mean": 127.5, "std": 64.0,
    }  # fmt: skip
    path.write_text(yaml.safe_dump({key: value for key, value in (said | changed).items() if value is not None}))
    return path


def reference(chips: np.ndarray, *, mean: Any = 127.5, std: Any = 64.0, bgr: bool = False) -> np.ndarray:
    """The net in numpy alone."""
    pixels = ((chips[..., ::-1] if bgr else chips) - np.asarray(mean)) / np.asarray(std)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(1, 2))[:, ::2, ::2]  # (N, y, x, C, 3, 3)
    features = np.maximum(np.einsum("nyxcij,kcij->nyxk", windows, KERNEL), 0).mean(axis=(1, 2))
    return features @ WEIGHTS + BIAS


@pytest.fixture
def card(tmp_path) -> Path:
    write_net(tmp_path / "net.onnx")
    return write_card(tmp_path / "tiny.yaml")


def test_templates_are_those_that_numpy_computes(card):
    net = load_embedder(str(card), device="cpu")
    expected = reference(CHIPS)
    assert np.allclose(net.embed(CHIPS, normalise=False), expected, atol=1e-5)
    unit = net.embed(CHIPS)
    assert unit.dtype == np.float32
    assert np.allclose(unit, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert net.embed(CHIPS[:0]).shape == (0, D)


@pytest.mark.parametrize(
    ("how", "said", "expects", "tolerance"),
    [
        ({"batch": 1}, {}, {}, 1e-5),
        ({"batch": 3}, {}, {}, 1e-5),  # five chips: one batch whole, one filled up
        ({"nhwc": True}, {"layout": "NHWC"}, {}, 1e-5),
        ({"half": True}, {}, {}, 2e-2),
        ({}, {"channels": "BGR", "mean": [1.0, 2.0, 3.0], "std": [50, 60, 70]},
         {"mean": [1, 2, 3], "std": [50, 60, 70], "bgr": True}, 1e-5),
        ({"ends": 2}, {"output": "template"}, {}, 1e-5),
    ],
    ids=["one at a time", "fixed batch", "NHWC", "half precision", "BGR by channel", "named output"],
)  # fmt: skip
def test_each_way_to_run_a_net(tmp_path, how, said, expects, tolerance):
    write_net(tmp_path / "net.onnx", **how)
    net = OnnxEmbedder(write_card(tmp_path / "c.yaml", **said), device="cpu", threads=1)
    assert np.allclose(net.embed(CHIPS, normalise=False), reference(CHIPS, **expects), atol=tolerance)


def test_the_version_is_the_file_and_how_it_is_run(card):
    """Templates of the same weights run in another way are other templates, and must not be compared."""
    net = OnnxEmbedder(card, device="cpu")
    assert net.version.startswith(sha256_file(card.parent / "net.onnx") + "+")
    again = OnnxEmbedder(write_card(card, source="elsewhere"), device="cpu")
    other = OnnxEmbedder(write_card(card, channels="BGR"), device="cpu")
    assert net.version == again.version != other.version


def test_licence_and_source_are_shown(card):
    net = OnnxEmbedder(write_card(card, licence="<research only>"), device="cpu")
    assert "licence: <research only>" in repr(net)
    assert "&lt;research only&gt;" in net._repr_html_()


def test_the_template_follows_the_size_of_the_chip(card):
    points = [[10.0, 12], [22, 12], [16, 18], [11, 24], [21, 24]]
    assert np.allclose(read_card(card).points, ARCFACE_TEMPLATE * SIDE / 112)
    assert read_card(write_card(card, template="dlib")).points is None
    assert np.allclose(read_card(write_card(card, template=points)).points, points)


def test_photos_are_cut_as_the_card_says(card, astronaut):
    found = embed_images([astronaut, np.zeros((64, 64, 3), np.uint8)], embedder=str(card), device="cpu")
    assert found.vectors.shape == (2, D)
    assert list(found.failures) == [1]
    assert found.embedder == "tiny"
    assert found.version.startswith(load_embedder(card, device="cpu").version + "+mirror")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"licence": None}, RefusedError, r"names no licence.*licence: Apache-2\.0"),
        ({"licence": " "}, RefusedError, "names no licence"),
        ({"licence": "Unknown?"}, RefusedError, "names no licence"),
        ({"licence": "TBD"}, RefusedError, "names no licence"),
        ({"sha256": "0" * 64}, IntegrityError, "its card says 0000"),
        ({"file": "../net.onnx"}, InputError, "file"),
        ({"file": "other.onnx"}, MissingArtifactError, "not beside its card"),
        ({"name": "dlib"}, InputError, "taken"),
        ({"std": 0}, InputError, "std"),
        ({"mean": float("nan")}, InputError, "mean"),
        ({"template": [[1, 2], [3, 4]]}, InputError, "template"),
        ({"chanels": "RGB"}, InputError, "chanels"),
        ({"dimension": 7}, ShapeError, r"makes \(1, 6\).*expected \(1, 7\)"),
        ({"size": 64}, InputError, "size or layout"),
        ({"layout": "NHWC"}, InputError, "size or layout"),
        ({"output": "d"}, InputError, "outputs template"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_with_what_to_write(card, said, error, words):
    with pytest.raises(error, match=words):
        load_embedder(write_card(card, **said), device="cpu")


def test_a_file_without_an_end_is_not_read(card):
    write_card(card)
    (card.parent / "net.onnx").unlink()
    (card.parent / "net.onnx").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no ordinary file"):
        OnnxEmbedder(card, device="cpu")


@pytest.mark.parametrize("text", ["", "- a\n- b", "name: &a [*a]", "name: [", "licence: MIT\nlicence: MIT"])
def test_a_card_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        read_card(tmp_path / "c.yaml")


def test_without_a_card_nothing_is_loaded(card):
    with pytest.raises(RefusedError, match="without a card"):
        load_embedder(card.parent / "net.onnx", device="cpu")
    with pytest.raises(MissingArtifactError, match="no card"):
        load_embedder("nowhere.yaml", device="cpu")
    with pytest.raises(InputError, match="by its card"):
        load_embedder("onnx", device="cpu")


def test_the_card_to_copy_loads_nothing_until_it_is_filled_in(tmp_path):
    blank = Path(__file__).parents[2] / "configs" / "models" / "embedder.yaml"
    with pytest.raises(RefusedError, match="names no licence"):
        read_card(blank)
    fields = yaml.safe_load(blank.read_text())
    write_net(tmp_path / "net.onnx")
    filled = yaml.safe_load(write_card(tmp_path / "c.yaml").read_text())
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(fields | {k: v for k, v in filled.items() if fields[k] is None}))
    assert read_card(tmp_path / "c.yaml").size == 112


def test_nets_that_are_none_or_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    for data in (b"", b"no net", b"\x08" * 1000):
        path.write_bytes(data)
        with pytest.raises(InputError, match="not a net"):
            OnnxEmbedder(write_card(tmp_path / "c.yaml"), device="cpu")
    write_net(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a net"):
        OnnxEmbedder(write_card(tmp_path / "c.yaml"), device="cpu")
    write_net(path, ends=2)
    with pytest.raises(InputError, match="outputs template, d; say on its card"):
        OnnxEmbedder(write_card(tmp_path / "c.yaml"), device="cpu")


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_templates_without_content_are_refused(tmp_path, value, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "BIAS", np.zeros(D, np.float32))
    write_net(tmp_path / "net.onnx", weights=np.full((4, D), value, np.float32))
    with pytest.raises(ShapeError, match="NaN, infinite or zero"):
        OnnxEmbedder(write_card(tmp_path / "c.yaml"), device="cpu")


@pytest.mark.parametrize("location", ["weights.bin", "../../../etc/passwd", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_a_net_that_refers_to_other_files_is_refused(card, location):
    """Weights in other files: their path stands in the net, and could be any file of this machine."""
    import onnx
    from onnx.external_data_helper import set_external_data

    path = card.parent / "net.onnx"
    model = onnx.load(str(path))
    tensor = next(one for one in model.graph.initializer if one.name == "weights")
    (card.parent / "weights.bin").write_bytes(tensor.raw_data)
    set_external_data(tensor, location=location, offset=0, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(RefusedError, match="refers to other files"):
        OnnxEmbedder(write_card(card), device="cpu")


def test_a_file_too_large_is_refused_before_it_is_read(card, monkeypatch):
    monkeypatch.setattr("crimeface_lib.recognition.onnx_embed.LARGEST", 100)
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("it was read"))
    with pytest.raises(InputError, match="MiB"):
        OnnxEmbedder(card, device="cpu")


def test_other_chips_are_refused(card):
    net = OnnxEmbedder(card, device="cpu")
    for chips in (CHIPS[0], CHIPS.astype(float), CHIPS[:, :16]):
        with pytest.raises(ShapeError, match=r"size=32, template=embedder\.template"):
            net.embed(chips)


def test_no_onnx_runtime_is_said_with_the_command(card, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingBackendError, match=r"pip install 'crimeface-lib\[onnx\]'"):
        OnnxEmbedder(card, device="cpu")


def test_a_device_that_onnx_runtime_lacks_is_no_silent_cpu(card, monkeypatch):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    monkeypatch.setattr("crimeface_lib.recognition.onnx_embed.resolve_device", lambda name: "cuda")
    with pytest.raises(MissingBackendError, match="onnxruntime-gpu"):
        OnnxEmbedder(card, device="cuda")
    assert OnnxEmbedder(card, device="auto").device == "cpu"  # left open: what it can use


@pytest.mark.filterwarnings("ignore")  # torch's first exporter, which needs no further package, says it is old
def test_our_own_net_as_onnx_gives_the_same_templates(tmp_path, astronaut):
    import torch

    from crimeface_lib.faces import align_face, detect_faces
    from crimeface_lib.recognition.embed import _dlib_net

    own = load_embedder("dlib", device="cpu")
    net = _dlib_net("cpu")
    names = {"input_names": ["chips"], "output_names": ["template"], "dynamic_axes": {"chips": {0: "N"}}}
    torch.onnx.export(net, (torch.zeros(1, 3, 150, 150),), str(tmp_path / "net.onnx"), dynamo=False, **names)
    said = {"dimension": 128, "size": 150, "template": "dlib", "mean": 0, "std": 1}
    other = OnnxEmbedder(write_card(tmp_path / "c.yaml", **said), device="cpu")
    chip = align_face(astronaut, detect_faces(astronaut)[0])
    chips = np.stack([chip, chip[:, ::-1], np.roll(chip, 9, axis=0)])
    assert np.abs(own.embed(chips, normalise=False) - other.embed(chips, normalise=False)).max() < 1e-5
