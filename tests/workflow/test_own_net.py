"""A face net that the user brings: its licence stands in the run, and both of its cards must say the same."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from crimeface_lib.core.errors import IntegrityError, RefusedError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.settings import load_settings
from crimeface_lib.governance import Dpia, ModelRegistry, User, template
from crimeface_lib.recognition import embed_images, fit_calibration, load_embedder
from crimeface_lib.workflow import CaseStore, open_run
from crimeface_lib.workflow.config import RecogniseConfig
from crimeface_lib.workflow.origin import login_name

CARD = {
    "name": "tiny", "file": "net.onnx", "licence": "Apache-2.0", "source": "made by this test", "intended_use": "tests",
    "dimension": 6, "size": 112, "template": "arcface112", "channels": "RGB", "mean": 127.5, "std": 128.0,
}  # fmt: skip


@pytest.fixture
def own_net(workplace) -> Path:
    """The card of a net that takes the mean of each row of a chip's middle, six numbers a channel."""
    from onnx import TensorProto, helper, numpy_helper, save

    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["chips"], ["pooled"], kernel_shape=[56, 112], strides=[56, 112]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "turn"], ["template"]),
        ],
        "net",
        [helper.make_tensor_value_info("chips", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("template", TensorProto.FLOAT, ["N", 6])],
        [numpy_helper.from_array(np.eye(6, dtype=np.float32), "turn")],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), workplace.root / "net.onnx"
    )
    path = workplace.root / "tiny.yaml"
    path.write_text(yaml.safe_dump(CARD | {"sha256": sha256_file(workplace.root / "net.onnx")}))
    return path


def write_model_card(folder: Path, own_net: Path, **changed) -> None:
    said = ModelRegistry.bundled().require("dlib-resnet").to_dict() | {
        "name": "tiny-net", "version": "1", "backend": "embedders:tiny", "source": "made by this test",
        "licence": {"code": "MIT", "weights": "Apache-2.0"},
        "weights_sha256": {"net.onnx": sha256_file(own_net.parent / "net.onnx")},
    }  # fmt: skip
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "models" / "tiny.yaml").write_text(yaml.safe_dump(said | changed))


def approve(store: CaseStore, version: str) -> None:
    """Approve a DPIA for the net, by its file's SHA-256."""
    admin = store.people.add(User("ada", frozenset({"admin"})))
    dora = store.people.add(User("dora", frozenset({"approver"})), password="correct horse battery", by=admin)
    author = store.people.add(User(login_name({}), frozenset({"researcher"})), by=admin)
    content = template("face_search").to_dict() | {"demonstration": False}
    content["scope"] |= {"datasets": ["default"], "models": [{"name": "tiny", "version": version}]}
    content["faces"] |= {"algorithm": "tiny", "version": version, "threshold": 0.0}
    number = store.dpias.draft(Dpia.from_dict(content), author=author)
    store.dpias.submit(number, author=author)
    store.dpias.advise(number, "Fine.", favourable=True, adviser=dora)
    store.dpias.approve(number, approver=dora, review_by=date.today() + timedelta(days=20))


def config(own_net: Path, folder: Path, **changes) -> RecogniseConfig:
    said = {"title": "t", "question": "q", "purpose": "method-evaluation", "probe": own_net.parent / "probe.png"}
    return RecogniseConfig(**said, store=folder, embed={"embedder": str(own_net)}, **changes)


def test_a_search_with_a_users_net_names_its_licence(own_net, workplace, astronaut):
    from PIL import Image

    Image.fromarray(astronaut).save(own_net.parent / "probe.png")
    folder = workplace.root / "store"
    write_model_card(folder, own_net)
    store = CaseStore.open(folder, clock=lambda: datetime.now(UTC))
    net = load_embedder(own_net, device="cpu")
    weights = sha256_file(own_net.parent / "net.onnx")
    approve(store, weights)
    gallery = embed_images([astronaut, astronaut[:, ::-1]], embedder=net)
    facts = {"source": "own", "rationale": "test", "category": "sample", "added_by": "rhea"}
    until = date.today() + timedelta(days=9)
    store.open_watchlist("default", create=True).enrol_many(gallery, subjects=["a", "b"], expires=until, **facts)
    gen = np.random.default_rng(0)
    fitted = fit_calibration(
        gen.normal(0.9, 0.05, 60), gen.normal(0.1, 0.2, 60), embedder=gallery.embedder, version=gallery.version
    )
    fitted.save(own_net.parent / "calibration.json")
    run = open_run(config(own_net, folder, calibration=own_net.parent / "calibration.json"), settings=load_settings())
    permit = run.permit_search(net)
    assert permit.use.model_version == weights != net.version
    run.used(f"embedders:{net.name}")
    assert run.record["models"] == [
        {
            "model": "tiny-net",
            "version": "1",
            "source": "made by this test",
            "licence": "Apache-2.0",
            "use": "as licensed",
        }
    ]
    run.take_in(own_net.parent / "probe.png", role="probe", evidence=False)
    found = run.search(embed_images([astronaut], embedder=net), permit=permit)
    assert {one.subject for one in found.candidates} == {"a", "b"}
    assert (found.embedder, found.calibration["embedder"]) == ("tiny", "tiny")


def test_a_users_net_without_a_model_card_is_refused_before_it_is_loaded(own_net, workplace):
    (own_net.parent / "net.onnx").unlink()  # so that loading it would fail
    with pytest.raises(RefusedError, match="no model card for 'embedders:tiny'"):
        open_run(config(own_net, workplace.root / "store"), settings=load_settings())


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"licence": {"code": "MIT", "weights": "MIT"}}, RefusedError, "'Apache-2.0' on the net's card and 'MIT'"),
        ({"weights_sha256": {"net.onnx": "0" * 64}}, IntegrityError, "its card says 0000"),
        ({"weights_sha256": {}}, IntegrityError, "its card says None"),
    ],
)
def test_both_cards_must_say_the_same(own_net, workplace, changed, error, words):
    write_model_card(workplace.root / "store", own_net, **changed)
    store = CaseStore.open(workplace.root / "store")
    with pytest.raises(error, match=words):
        store.require_model("embedders", str(own_net))


def test_a_card_is_found_from_where_the_command_was_called(own_net, monkeypatch):
    monkeypatch.chdir(own_net.parent)
    assert config(Path("tiny.yaml"), Path("store")).embed.embedder == str(own_net)
    assert config(Path("dlib"), Path("store")).embed.embedder == "dlib"
