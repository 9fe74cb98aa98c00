from __future__ import annotations

from dataclasses import replace
from html import escape
from importlib.metadata import version
from importlib.resources import files

import pytest
import yaml

from crimeface_lib.core.artifacts import package_folder
from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.plugins import installed
from crimeface_lib.governance import LICENCES, Datasheet, Dpia, ModelCard, ModelRegistry, template
from crimeface_lib.governance.modelcard import BACKENDS

BUNDLED = {card.name: card for card in ModelRegistry.bundled()}


def changed(**changes):
    return ModelCard.model_validate({**BUNDLED["builtin"].to_dict(), **changes})


def test_the_cards_that_come_with_it():
    named = {
        "dlib-resnet", "dlib-68-landmarks", "dlib-hog-detector", "ict", "builtin", "bfm", "flame", "surrey",
        "decayed_counts", "counts", "kde", "glm", "prohotspot", "retrospective", "self_exciting",
    }  # fmt: skip
    assert set(BUNDLED) >= named
    folder = files("crimeface_lib.governance") / "cards"
    assert {entry.name.removesuffix(".yaml") for entry in folder.iterdir()} == set(BUNDLED)
    research_only = {name for name, card in BUNDLED.items() if card.research_only}
    assert research_only >= {"dlib-68-landmarks", "bfm", "flame", "surrey"}
    assert research_only.isdisjoint({"ict", "builtin", "dlib-resnet"})


def test_every_model_of_the_library_has_a_card():
    """No place model and no installed backend of a kind that computes results is without one (D1)."""
    from crimeface_lib.crime import MODEL_NAMES, PROFILE_VERSION

    registry = ModelRegistry.bundled()
    for name in MODEL_NAMES:
        assert registry.require(f"place_models:{name}")
    for name in ("bayes", "rossmo"):
        assert registry.require(f"profile_models:{name}", version=PROFILE_VERSION)
    for kind in ("detectors", "landmarkers", "embedders", "morphable_models"):
        for name in {*installed(kind)} - {"onnx"}:  # it runs the nets of users, who bring their cards
            card = registry.require(f"{kind}:{name}")
            assert card.fairness
            assert all(sheet in registry.datasheets for sheet in card.datasheets)


@pytest.mark.parametrize("card", BUNDLED.values(), ids=BUNDLED)
def test_a_card_names_a_backend_and_shows_everything(card):
    kind, name = card.backend.split(":")
    assert kind in ("place_models", "profile_models") or name in installed(kind)
    assert ModelCard.from_yaml(yaml.safe_dump(card.to_dict())) == card
    html = card.to_html()
    for text in (card.version, card.licence.code, *card.weights_sha256.values()):
        assert text in html
    assert ("Not evaluated here." in html) == (not card.measured)
    assert all(figure.in_words() in html for result in card.measured for figure in result.figures)
    assert ("non-commercial research only" in html) == card.research_only


def test_hashes_and_versions_are_those_of_the_installed_weights():
    folder = package_folder("face_recognition_models")
    if folder is None:
        pytest.skip("face_recognition_models is not installed")
    listed = [(file, digest) for card in BUNDLED.values() for file, digest in card.weights_sha256.items()]
    dat = [(file, digest) for file, digest in listed if file.endswith(".dat")]
    assert len(dat) == 3
    assert all(sha256_file(folder / "models" / file) == digest for file, digest in dat)
    assert BUNDLED["dlib-resnet"].version == version("face_recognition_models")
    assert version("dlib-bin").startswith(BUNDLED["dlib-hog-detector"].version)


def test_a_template_names_models_that_have_a_card():
    registry = ModelRegistry.bundled()
    for kind, backends in BACKENDS.items():
        for model in template(kind).scope.models:
            assert registry.require(f"{backends}:{model.name}", version=model.version)


@pytest.mark.parametrize("licence", [{"code": "MIT", "weights": "?"}, {"code": "Proprietary", "weights": "none"}])
def test_an_unknown_licence_is_refused(licence):
    registry = ModelRegistry()
    with pytest.raises(RefusedError, match="is not known; known: MIT"):
        registry.register(changed(licence=licence))
    with pytest.raises(RefusedError, match="no model card for 'builtin'"):
        registry.require("builtin")


def test_what_is_loaded_is_what_the_card_says():
    registry = ModelRegistry.bundled()
    card = BUNDLED["dlib-resnet"]
    assert registry.require("embedders:dlib", version="0.3.0", weights=card.weights_sha256) == card
    with pytest.raises(RefusedError, match=r"got version 0.4, the card is for 0.3.0"):
        registry.require("dlib-resnet", version="0.4")
    assert registry.require("embedders:dlib", version=card.weights_sha256[next(iter(card.weights_sha256))]) == card
    with pytest.raises(RefusedError, match="no model card for 'arcface'"):
        registry.require("arcface")
    file = next(iter(card.weights_sha256))
    for weights in ({file: "0" * 64}, {"other.dat": card.weights_sha256[file]}):
        with pytest.raises(IntegrityError, match="its card says"):
            registry.require("dlib-resnet", weights=weights)


def test_data_without_a_sheet_are_refused():
    with pytest.raises(RefusedError, match="no sheet for scraped-faces"):
        ModelRegistry().register(changed(datasheets=["scraped-faces"]))


def test_a_team_brings_cards_of_its_own(tmp_path):
    sheet = ModelRegistry.bundled().datasheets["lfw"].model_copy(update={"name": "our-volunteers"})
    card = changed(name="ours", backend="embedders:ours", kind="embedder", datasheets=["our-volunteers"])
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card.to_dict()))
    with pytest.raises(RefusedError, match="no sheet for our-volunteers"):
        ModelRegistry.open(tmp_path)
    (tmp_path / "sheet.yaml").write_text(yaml.safe_dump(sheet.to_dict()))
    assert ModelRegistry.open(tmp_path).require("embedders:ours").name == "ours"
    assert "ours" not in {card.name for card in ModelRegistry.bundled()}
    (tmp_path / "other.yaml").write_text("just words")
    with pytest.raises(InputError, match=r"other\.yaml: not a datasheet"):
        ModelRegistry.open(tmp_path)
    assert set(ModelRegistry.open(tmp_path / "none").datasheets) == set(ModelRegistry.bundled().datasheets)


@pytest.mark.parametrize("sheet", ModelRegistry.bundled().datasheets.values(), ids=lambda sheet: sheet.name)
def test_a_sheet_answers_every_question_and_shows_it(sheet):
    assert Datasheet.from_yaml(yaml.safe_dump(sheet.to_dict())) == sheet
    for answer in (sheet.consent, sheet.licence, *sheet.unsuitable):
        assert escape(answer) in sheet.to_html()
    for name in Datasheet.model_fields:
        incomplete = {key: value for key, value in sheet.to_dict().items() if key != name}
        with pytest.raises(InputError, match=name):
            Datasheet.from_yaml(yaml.safe_dump(incomplete))


def test_the_gate_refuses_a_model_without_a_card(office):
    """An approved DPIA is not enough: nobody has said what the model is or under which licence."""
    content = template("face_search").to_dict()
    content["scope"]["models"] = [{"name": "arcface", "version": "1"}]
    content["faces"] |= {"algorithm": "arcface", "version": "1"}
    office.approved(Dpia.from_dict(content))
    use = replace(office.use, model="arcface", model_version="1")
    with pytest.raises(RefusedError, match="no model card for 'embedders:arcface'"):
        office.gate.check(use)
    assert office.reasons("policy.refused") == ["RefusedError"]


def test_a_name_has_one_card():
    registry = ModelRegistry((BUNDLED["ict"],))
    registry.register(BUNDLED["ict"])
    with pytest.raises(InputError, match="another card"):
        registry.register(changed(name="ict"))
    assert len(list(registry)) == 1


@pytest.mark.parametrize(
    "text", ["just words", "a: [", yaml.safe_dump({"name": "x"}), yaml.safe_dump({**BUNDLED["ict"].to_dict(), "x": 1})]
)
def test_an_incomplete_card_is_refused(text):
    with pytest.raises(InputError, match="not a model card"):
        ModelCard.from_yaml(text)


def test_terms_are_stated_for_every_licence_in_use():
    used = {name for card in BUNDLED.values() for _, name in card.licence} - {"none"}
    assert used <= set(LICENCES)
