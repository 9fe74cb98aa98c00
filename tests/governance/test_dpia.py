from __future__ import annotations

from copy import deepcopy
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError
from crimeface_lib.governance import Dpia, Risk, template, template_text

KINDS = ("face_search", "place_prediction", "geographic_profile")


#: Fields with a fixed set of words.
CHOICES = {"likelihood", "severity", "effect", "residual", "regime"}
FACES = template("face_search")
SCOPE = FACES.to_dict()["scope"]


def changed(kind="face_search", **changes):
    return Dpia.from_dict({**template(kind).to_dict(), **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_valid_marked_and_survives_the_round_trip(kind):
    content = template(kind)
    assert content.scope.kind == kind
    assert content.demonstration
    assert template_text(kind).startswith("# DEMONSTRATION TEMPLATE")
    again = Dpia.from_yaml(content.to_yaml())
    assert again == content
    assert again.content_hash == content.content_hash


def test_an_unknown_template_names_those_there_are():
    with pytest.raises(InputError, match="face_search, geographic_profile, place_prediction"):
        template("emotion")


def leaves(record, place=()):
    for key, value in record.items() if isinstance(record, dict) else enumerate(record):
        if isinstance(value, dict | list):
            yield from leaves(value, (*place, key))
        yield (*place, key)


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_may_be_missing_empty_or_unknown(kind):
    optional = {("demonstration",), ("regulator_consultation",), ("faces", "threshold_change")}
    assert template(kind).empty_fields == ()
    complete = template(kind).to_dict()
    for *parents, last in list(leaves(complete)):
        if (*parents, last) in optional or isinstance(last, int) or last == "measures" or (
            last == "faces" and kind != "face_search"):  # fmt: skip
            continue
        content = deepcopy(complete)
        owner = content
        for step in parents:
            owner = owner[step]
        value = owner.pop(last)
        with pytest.raises(InputError, match=str(last)):
            Dpia.from_dict(content)
        if isinstance(value, str):
            owner[last] = "  "
            place = ".".join(str(step + 1) if isinstance(step, int) else step for step in (*parents, last))
            if place.startswith("scope.") or last in ("algorithm", "version"):  # what a machine compares
                with pytest.raises(InputError, match=str(last)):
                    Dpia.from_dict(content)
                owner[last] = value
                continue
            if last in CHOICES or "differentials" in parents:
                owner[last] = value
                continue
            draft = Dpia.from_dict(content)
            assert draft.empty_fields == (place,)
            assert place in draft.note
            assert "EMPTY" in draft._repr_html_()
    with pytest.raises(InputError, match="extra"):
        changed(kind, extra="field")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"faces": None}, "faces: needed for face_search"),
        ({"scope": {**SCOPE, "models": [{"name": "a", "version": "1"}]}}, "scope.models"),
        ({"scope": {**SCOPE, "purpose": "two words"}}, "scope.purpose"),
        ({"scope": {**SCOPE, "datasets": ["../lfw"]}}, "scope.datasets"),
        ({"scope": {**SCOPE, "datasets": ["lfw"]}}, "demonstration"),
    ],
)  # fmt: skip
def test_content_that_contradicts_itself_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        changed(**changes)


@pytest.mark.parametrize("text", ["- a\n- b", "a: [", "", "just words"])
def test_what_is_no_mapping_is_refused(text):
    with pytest.raises(InputError, match="mapping"):
        Dpia.from_yaml(text)


# The regulator's way of rating: likelihood × severity on a grid, written out by hand.
GRID = {
    ("remote", "minimal"): "low",
    ("remote", "significant"): "low",
    ("remote", "severe"): "medium",
    ("possible", "minimal"): "low",
    ("possible", "significant"): "medium",
    ("possible", "severe"): "high",
    ("probable", "minimal"): "medium",
    ("probable", "significant"): "high",
    ("probable", "severe"): "high",
}


@pytest.mark.parametrize(("place", "level"), GRID.items())
def test_risk_levels(place, level):
    risk = Risk(risk="r", likelihood=place[0], severity=place[1])
    assert risk.inherent == risk.residual == level


def test_a_measure_that_nobody_approved_lowers_nothing():
    measure = {"measure": "m", "effect": "reduced", "residual": "low", "approved": True}
    risk = {"risk": "r", "likelihood": "probable", "severity": "severe"}
    assert Risk(**risk, measures=[measure]).residual == "low"
    assert Risk(**risk, measures=[measure, {**measure, "residual": "medium"}]).residual == "medium"
    assert Risk(**risk, measures=[measure, {**measure, "approved": False}]).residual == "high"


@given(st.sampled_from(["title", "need", "consultation"]), st.text(min_size=1).filter(lambda t: t.strip()))
@settings(max_examples=40, deadline=None)
def test_the_hash_changes_with_the_content(field, text):
    after = Dpia.from_dict({**FACES.to_dict(), field: text})
    same = getattr(FACES, field) == text.strip()
    assert (FACES.content_hash == after.content_hash) == same


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.text, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("kind", KINDS)
def test_it_shows_every_field_and_runs_nothing(kind):
    content = changed(kind, title="<script>alert(1)</script>")
    reader = Reader()
    reader.feed(content._repr_html_())
    text = " ".join(reader.text)
    assert reader.open == []
    assert "<script" not in content._repr_html_()
    for value in (content.need, *content.processing.model_dump().values(), content.content_hash, content.residual):
        assert value in text
    assert "A demonstration" in text
