"""What the candidate review shows, without its widgets: photos side by side, scores, quality, decisions."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crimeface_lib.apps.face_parts import draw_photo
from crimeface_lib.reporting import html_table, score_figure
from crimeface_lib.reporting.style import figure_png

if TYPE_CHECKING:
    from crimeface_lib.core.types import ImageArray
    from crimeface_lib.governance import Review
    from crimeface_lib.recognition.candidates import Candidate, CandidateList
    from crimeface_lib.workflow.lineup import OpenedList, Portrait

#: Part of the face → where its middle lies in an aligned face, %.
REGIONS = {
    "Whole face": (50, 50), "Forehead and hairline": (50, 12), "Brows and eyes": (50, 30), "Nose": (50, 54),
    "Mouth": (50, 74), "Chin and jaw": (50, 94), "Ear, left in the picture": (4, 46),
    "Ear, right in the picture": (96, 46),
}  # fmt: skip
VIEWS = {"Faces, same size": "faces", "Whole photos": "photos", "One over the other": "over"}
DECISIONS = {
    "Follow up the candidate chosen above": "follow_up",
    "Follow up none of them": "no_follow_up",
    "Inconclusive: the photos don't allow a decision": "inconclusive",
}
_FIGURE = (4.5, 3.3)  # inches: still readable on a phone
_READ = (
    "Above: how often the calibration's comparisons had each score; grey and dashed are photos of two people, blue are "
    "two photos of one. The orange mark is this candidate's score. Below: the likelihood ratio with its interval, as a "
    "power of ten; right of 0 it supports that both photos show one person, left of 0 that they show two.",
    "It can't say who the person is, nor how probable that is. Somebody who looks alike, a relative say, scores high "
    "too.",
)


def pair_html(probe: Portrait, reference: Portrait, name: str, *, view: str, landmarks: bool) -> str:
    """Return the probe and a candidate's photo at one size, neither of them stretched.

    Parameters
    ----------
    view : one of ``VIEWS``. landmarks : draw the 68 points on the whole photos.
    """
    sides = ((probe, "Probe"), (reference, f"Reference photo of {name}"))
    if view == "over" and probe.chip is not None and reference.chip is not None:
        layers = "".join(_picture(side.chip, f"{label}, laid upright") for side, label in sides)
        return f'<div class="cf-pair cf-over"><figure><div class="cf-face">{layers}</div></figure></div>'
    return '<div class="cf-pair">' + "".join(_side(*side, view, landmarks) for side in sides) + "</div>"


def view_style(*, zoom: float, region: str, blend: float) -> str:
    """Return the style that zooms both pictures at one place and lays one over the other: no picture is sent again."""
    x, y = REGIONS[region]
    return f"<style>.cf-pair{{--cf-zoom:{zoom:.2f};--cf-at:{x}% {y}%;--cf-blend:{blend:.2f}}}</style>"


def candidate_facts(candidate: Candidate, *, scores: bool) -> str:
    """Return what is known of a candidate, with or without its score."""
    facts = {
        "Candidate": candidate.subject, "Category": candidate.category, "Source": candidate.source,
        "Reference quality": _of_100(candidate.quality), "Entry ends": f"{candidate.expires:%d %b %Y}",
    }  # fmt: skip
    if scores:
        facts |= {
            "Rank": f"{candidate.rank}",
            "Score": f"{candidate.score:.3f}",
            "Likelihood ratio": candidate.lr_words,
        }
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in facts.items())
    return f'<table class="cf-table cf-about"><tbody>{rows}</tbody></table>'


def candidates_table(found: CandidateList) -> str:
    """Return every candidate, best first, in a box that scrolls."""
    rows = [
        {"rank": f"{one.rank}", "candidate": one.subject, "score": f"{one.score:.3f}",
         f"likelihood ratio ({found.level:.0%} interval)": one.lr_words, "quality": _whole(one.quality)}
        for one in found.candidates
    ]  # fmt: skip
    about = (
        f"{found.gallery_size:,} entries searched, {found.mode_words}. Candidates whose intervals overlap can't be "
        "told apart by them."
    )
    return _scrolling(html_table(pd.DataFrame(rows), caption=f"All {len(rows)} candidates", note=about) if rows else "")


def score_html(opened: OpenedList, candidate: Candidate) -> str:
    """Return the candidate's score and likelihood ratio, drawn against the calibration's, with how to read it."""
    drawn = len(opened.mated) > 1
    ratios = np.log10([[candidate.likelihood_ratio], [candidate.lr_low], [candidate.lr_high]])
    known: dict[str, Any] = {"scores": [candidate.score], "mated": opened.mated, "nonmated": opened.nonmated,
                             "pairs": tuple(opened.found.calibration["pairs"])} if drawn else {}  # fmt: skip
    figure = score_figure([""], *ratios, clamped=[candidate.at_limit], shown="this candidate", **known)
    figure.set_size_inches(_FIGURE[0], _FIGURE[1] if drawn else 1.4)
    figure.axes[-1].set_xlabel("←  two people        log10 likelihood ratio        one person  →")
    if drawn:
        figure.axes[0].set_xlabel("similarity score   (▼ this candidate)")
    without = "This run kept no scores of its calibration, so there are no curves." if not drawn else ""
    alt = f"Likelihood ratio {candidate.lr_words}; score {candidate.score:.3f} among the calibration's scores"
    source = "data:image/png;base64," + base64.b64encode(figure_png(figure)).decode()
    said = "".join(f"<p>{text}</p>" for text in (without, *_READ) if text)
    return f'<img class="cf-score" alt="{escape(alt)}" src="{source}"><div class="cf-note">{said}</div>'


def quality_html(quality: dict[str, Any]) -> str:
    """Return the parts of the probe's quality, the weakest first and named."""
    parts = {name: value for name, value in quality.get("parts", {}).items() if value is not None}
    if not parts:
        return '<p class="cf-note">The quality of the probe is not known.</p>'
    ordered = sorted(parts.items(), key=lambda part: part[1])
    bars = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><span class="cf-part"><i style="width:{100 * value:.0f}%"></i>'
        f'</span></td><td class="num">{value:.2f}</td></tr>'
        for name, value in ordered
    )
    reasons = "".join(f" {one[:1].upper()}{one[1:]}." for one in quality.get("reasons", ()))
    said = f"Each part from 0 to 1. Weakest: {ordered[0][0]}.{reasons}"
    caption = f"Quality of the probe: {_of_100(quality.get('score'))}"
    table = f'<table class="cf-table cf-quality"><caption>{caption}</caption><tbody>{bars}</tbody></table>'
    return f'{table}<p class="cf-note">{escape(said)}</p>'


def reviews_table(reviews: Sequence[Review], *, caption: str, outcome: bool = False) -> str:
    """Return reviews with who asked when, and where each stands; ``outcome`` : also what two decisions came to."""
    rows = [
        {"review": f"Review {one.id}", "asked": _minute(one.asked_at), "by": one.asked_by, "run": one.run,
         "state": one.state, "outcome": _outcome(one) if one.decisions else "not before both have decided"}
        for one in reviews
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    return _scrolling(html_table(frame if outcome else frame.drop(columns="outcome"), caption=caption))


def decisions_html(review: Review) -> str:
    """Return both decisions of a review, and how its report is issued; empty before both are made."""
    if not review.decisions:
        return ""
    rows = [
        {"by": one.by, "decision": _words(one.decision, _rank(review, one.candidate)), "reason": one.reason,
         "at": _minute(one.at)}
        for one in review.decisions
    ]  # fmt: skip
    table = _scrolling(
        html_table(pd.DataFrame(rows), caption=f"Review {review.id} of {review.run}: {_outcome(review)}")
    )
    issue = escape(f"crimeface review issue {review.run} --out report.pdf")
    return f'{table}<p class="cf-note">The report with both decisions: <code>{issue}</code></p>'


def _scrolling(table: str) -> str:
    """Return a table in a box that scrolls where it is too large, by keys too."""
    return f'<div class="cf-tall" tabindex="0" role="region" aria-label="Table">{table}</div>'


def _minute(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


def _outcome(review: Review) -> str:
    """Return what two decisions come to; a candidate is told by its place on the list, not by its record."""
    if review.state != "agreed":
        return review.outcome
    first = review.decisions[0]
    return f"Both decided alike: {_words(first.decision, _rank(review, first.candidate))}."


def _words(decision: str, rank: int) -> str:
    said = {"follow_up": f"follow up candidate {rank} of the list", "no_follow_up": "follow up none"}
    return said.get(decision, decision)


def _rank(review: Review, candidate: str) -> int:
    return review.candidates.index(candidate) + 1 if candidate else 0


def _side(portrait: Portrait, label: str, view: str, landmarks: bool) -> str:
    shown = f'<p class="cf-none">{escape(portrait.why or "There is no photo.")}</p>'
    note = ""
    if view == "photos" and portrait.image is not None and portrait.faces:
        points = portrait.landmarks if landmarks else None
        shown = draw_photo(portrait.image, portrait.faces, portrait.index, landmarks=points)
    elif portrait.chip is not None:
        shown = _picture(portrait.chip, f"{label}, laid upright")
    elif portrait.image is not None:  # no face is found in it: as it is, and why
        shown, note = _picture(portrait.image, label), portrait.why
    if portrait.chip is not None:
        note = f"{portrait.faces[portrait.index].interocular:.0f} px between the eyes"
    return (
        f'<figure><div class="cf-face">{shown}</div>'
        f"<figcaption><b>{escape(label)}</b> {escape(note)}</figcaption></figure>"
    )


def _picture(image: ImageArray | None, alt: str) -> str:
    from PIL import Image

    file = BytesIO()
    picture = Image.fromarray(np.asarray(image))
    picture.thumbnail((1280, 1280))
    picture.save(file, format="JPEG", quality=92)
    return f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _of_100(value: float | None) -> str:
    said = _whole(value)
    return said if said == "unknown" else f"{said} of 100"


def _whole(value: float | None) -> str:
    return "unknown" if value is None or not math.isfinite(value) else f"{value:.0f}"
