"""The answer to a search: ranked candidates with likelihood ratios and caveats, never a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.results import Result

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.recognition.openset import OpenSetRate

MEANING = (
    "A likelihood ratio (LR) says how many times more probable this score is if both photos show the same person "
    "than if they show two different people. It is not the probability that they are the same person: that also "
    "depends on everything else known of the case."
)
DECISIONS = (
    "This is a list of candidates and no identification. Two trained people must each compare the photos and decide, "
    "the second without knowing what the first decided."
)

#: Upper ends of the ENFSI scale's steps; a ratio below 2 supports neither.
_ENFSI = (
    (2, "no noteworthy"), (10, "weak"), (100, "moderate"), (1e3, "moderately strong"), (1e4, "strong"),
    (1e6, "very strong"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate(Result):
    """One entry of the watchlist, as a candidate.

    Parameters
    ----------
    rank : from 1. record : of the entry. score : cosine.
    likelihood_ratio, lr_low, lr_high : with its interval; ``at_limit`` where the calibration supports no more.
    quality : of the reference photo, 0–100, None where unknown.
    """

    rank: int
    subject: str
    record: str
    score: float
    likelihood_ratio: float
    lr_low: float
    lr_high: float
    at_limit: bool
    quality: float | None
    category: str
    source: str
    expires: date

    @property
    def lr_words(self) -> str:
        """The likelihood ratio with its interval, or that it is held at what the calibration data support."""
        if self.at_limit:
            return f"{_number(self.likelihood_ratio)}, held at the limit of the calibration data"
        return lr_text(self.likelihood_ratio, self.lr_low, self.lr_high)


@dataclass(frozen=True, slots=True)
class CandidateList(Result):
    """Candidates for one probe, best first.

    Parameters
    ----------
    gallery_size : entries searched; expired ones are not among them.
    probe_quality : 0–100. probe_note : which face of how many was searched.
    embedder, version : what made the templates. calibration : its summary.
    level : of the intervals. caveats : sentences that belong on every page that shows this list.
    mode : "threshold" (the entries that reach ``threshold``; ISO/IEC 19795-1 calls it identification) or "rank" (the
        best, however low they score; an investigation).
    fpir : how often someone who is not on the list would yield a candidate; None where there is no threshold.
    index : how the entries were searched; recall : the share of the exact list that it finds, 1 for "exact".
    unreadable : records that could not be read, and were not searched.
    """

    candidates: tuple[Candidate, ...]
    gallery_size: int
    probe_quality: float
    probe_note: str
    embedder: str
    version: str
    calibration: dict[str, Any]
    level: float
    caveats: tuple[str, ...]
    mode: str = "rank"
    threshold: float | None = None
    fpir: OpenSetRate | None = None
    index: str = "exact"
    recall: float = 1.0
    unreadable: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CandidateList:
        """Return the list that ``to_dict`` wrote; an unknown quality is NaN again.

        Raises
        ------
        InputError : fields are missing or unknown.
        """
        from crimeface_lib.recognition.openset import OpenSetRate

        try:
            candidates = [
                Candidate(**one | {"expires": date.fromisoformat(one["expires"])}) for one in record["candidates"]
            ]
            lists = {name: tuple(record[name]) for name in ("caveats", "unreadable")}
            quality, fpir = record["probe_quality"], record["fpir"]
            return cls(**{
                **record, **lists, "candidates": tuple(candidates), "fpir": fpir and OpenSetRate(**fpir),
                "probe_quality": float("nan") if quality is None else quality,
            })  # fmt: skip
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"candidate list: {error}; expected what CandidateList.to_dict wrote") from error

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def mode_words(self) -> str:
        """What was asked for: those above a threshold, or the best."""
        return "the best by rank" if self.threshold is None else f"those that reach the threshold {self.threshold:.3f}"

    def to_frame(self) -> pd.DataFrame:
        import pandas as pd

        rows = [one.to_dict() for one in self.candidates]
        return pd.DataFrame(rows, columns=list(Candidate.__dataclass_fields__))

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{name}</th>" for name in ("", "candidate", "score", "likelihood ratio", "reference quality")
        )
        rows = "".join(
            f"<tr><td>{c.rank}</td><td><b>{escape(c.subject)}</b><br><small>{escape(c.category)} · {escape(c.source)}"
            f"</small></td><td>{c.score:.3f}</td><td>{c.lr_words}</td>"
            f"<td>{_quality(c.quality)}</td></tr>"
            for c in self.candidates
        )
        caveats = "".join(f"<li>{escape(text)}</li>" for text in self.caveats)
        return (
            f'<div class="cf-candidates"><p><b>{len(self)} candidates</b> of {self.gallery_size:,} entries searched · '
            f"{self.mode_words} · "
            f"probe quality {_quality(self.probe_quality)} of 100 · intervals {self.level:.0%}</p>"
            f'<table class="cf-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
            f"<ul>{caveats}</ul></div>"
        )


@dataclass(frozen=True, slots=True)
class Searches(Result):
    """The candidate lists of several probes. ``lists`` : probe number → list; ``failures`` : number → reason."""

    lists: dict[int, CandidateList]
    failures: dict[int, str]

    def __len__(self) -> int:
        return len(self.lists)

    def to_frame(self) -> pd.DataFrame:
        """Return the candidates of all probes, one row each."""
        import pandas as pd

        frames = [found.to_frame().assign(probe=probe) for probe, found in self.lists.items() if len(found)]
        columns = ["probe", *Candidate.__dataclass_fields__]
        return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)

    def _repr_html_(self) -> str:
        told = "".join(f"<li>probe {probe}: {escape(why)}</li>" for probe, why in self.failures.items())
        pages = "".join(f"<h4>Probe {probe}</h4>{found._repr_html_()}" for probe, found in self.lists.items())
        return f"<div>{pages}" + (f"<p>Not searched:</p><ul>{told}</ul>" if told else "") + "</div>"


def lr_text(ratio: float, low: float, high: float, *, verbal: str | None = None) -> str:
    """Return an LR with its interval, to two figures, as numbers only unless words are asked for.

    Verbal scales overstate: readers take them for more than the number says. Where rules demand one, "enfsi" adds the
    ENFSI scale's word for the end of the interval nearer to 1, and what it supports.

    Raises
    ------
    InputError : another scale.
    References : ENFSI guideline for evaluative reporting 2015, table of verbal equivalents.

    >>> lr_text(13200, 8100, 20400)
    '1.3 × 10⁴ (8.1 × 10³ – 2.0 × 10⁴)'
    >>> lr_text(2.04, 0.031, 40)
    '2.0 (0.031 – 40)'
    >>> lr_text(13200, 8100, 20400, verbal="enfsi")
    '1.3 × 10⁴ (8.1 × 10³ – 2.0 × 10⁴), strong support for the same person'
    """
    if verbal not in (None, "enfsi"):
        raise InputError(f"verbal: got {verbal!r}, expected None or 'enfsi'")
    numbers = f"{_number(ratio)} ({_number(low)} – {_number(high)})"
    return numbers if verbal is None else f"{numbers}, {_enfsi(low, high)}"


def _enfsi(low: float, high: float) -> str:
    if low <= 1 <= high:
        return "no support for either"
    weight, side = (low, "the same person") if low > 1 else (1 / high, "different people")
    word = next((word for limit, word in _ENFSI if weight < limit), "extremely strong")
    return f"{word} support for {side}"


def _quality(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.0f}"


def _number(value: float) -> str:
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    power = int(exponent)
    if -3 < power < 3:
        return f"{float(f'{value:.1e}'):.{max(0, 1 - power)}f}"
    return f"{mantissa} × 10{str(power).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def caveats(
    calibration: Any, *, gallery_size: int, shown: int, fpir: OpenSetRate | None, index: str, unreadable: int
) -> tuple[str, ...]:
    """Return what must be said beside a list made with this calibration over this many entries.

    Parameters
    ----------
    shown : candidates on the list. fpir : of the threshold, None where the best are listed by rank.
    index : empty where the search was exact. unreadable : records that were left out because they are damaged.
    """
    pairs, people = sum(calibration.pairs), calibration.subjects
    said = [
        MEANING,
        f"The LRs were calibrated on {calibration.dataset or 'an unnamed data set'} ({pairs:,} pairs of {people:,} "
        "people). They do not carry over to photos of another kind, such as CCTV, low resolution, strong light or "
        "other ages, without a calibration on pairs like those of the case; the intervals do not cover that "
        "difference. Its different people are paired at random: people of one sex, age and origin resemble each other "
        "more, relatives and twins most of all, so where the alternative is such a person the LR is too high, by an "
        "amount that is not known.",
        f"{gallery_size:,} entries were searched and the best {shown:,} are shown. The more entries, the more resemble "
        "the probe by chance, so the first rank is no evidence by itself. Where the score is the only evidence, an LR "
        "below the number of people who could be the person in the probe leaves it more likely to be someone else.",
        fpir.sentence
        if fpir
        else "The list has no threshold: every search yields candidates, also one for a person who is not on the list.",
        "The person in the probe may not be on the watchlist at all.",
    ]
    if index:
        said.append(f"The search was approximate and may have missed entries: {index}.")
    if unreadable:
        said.append(f"{unreadable:,} records of the watchlist are damaged or missing and were not searched.")
    return (*said, DECISIONS)
