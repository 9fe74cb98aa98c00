from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files

import pytest
import yaml

from crimeface_lib.core.artifacts import package_folder
from crimeface_lib.core.errors import InputError, IntegrityError, RefusedError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.plugins import installed
from crimeface_lib.governance import LICENCES, ModelCard, ModelRegistry, template

BUNDLED = {card.name: card for card in ModelRegistry.bundled()}


def changed(**changes):
    return ModelCard.model_validate({**BUNDLED["builtin"].to_dict(), **changes})


def test_the_cards_that_come_with_it():
    named = {"dlib-resnet", "dlib-68-landmarks", "dlib-hog-detector", "ict", "builtin", "decayed_counts", "counts"}
    assert set(BUNDLED) == named
    folder = files("crimeface_lib.governance") / "cards"
    assert {entry.name.removesuffix(".yaml") for entry in folder.iterdir()} == named
    assert [name for name, card in BUNDLED.items() if card.research_only] == ["dlib-68-landmarks"]


@pytest.mark.parametrize("card", BUNDLED.values(), ids=BUNDLED)
def test_a_card_names_a_backend_and_shows_everything(card):
    kind, name = card.backend.split(":")
    assert kind == "place_models" or name in installed(kind)
    assert ModelCard.from_yaml(yaml.safe_dump(card.to_dict())) == card
    html = card.to_html()
    for text in (card.version, card.licence.code, *card.weights_sha256.values()):
        assert text in html
    assert ("Not evaluated here." in html) == (not card.evaluation)
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
    for kind, backends in (("face_search", "embedders"), ("place_prediction", "place_models")):
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
