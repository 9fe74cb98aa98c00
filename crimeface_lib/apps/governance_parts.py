"""What the governance board is made of: who may see which part, its tiles, its timeline of assessments, its words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from crimeface_lib.governance.register import REVIEW_NOTICE
from crimeface_lib.reporting.bias_figures import MEASURE_NAMES

if TYPE_CHECKING:
    from crimeface_lib.governance import DpiaStatus
    from crimeface_lib.governance.access import Action
    from crimeface_lib.workflow.governance_review import GovernanceReview
    from crimeface_lib.workflow.store import CaseStore


class Part(NamedTuple):
    """A part of the board; whoever may do one of ``needs`` sees it, and to others nothing of it is sent."""

    title: str
    needs: tuple[Action, ...]


_BOTH: tuple[Action, ...] = ("read_reports", "read_audit")
_AUDIT: tuple[Action, ...] = ("read_audit",)
#: The one table of who sees what. "overview" is the tiles and the sentences above the sections.
PARTS: Mapping[str, Part] = {
    "overview": Part("Overview", _BOTH),
    "assessments": Part("Assessments", _BOTH),
    "runs": Part("Runs", _AUDIT),
    "bias": Part("Bias over time", _BOTH),
    "thresholds": Part("Thresholds", _AUDIT),
    "refusals": Part("Refusals", _AUDIT),
    "retention": Part("Retention", _AUDIT),
    "integrity": Part("Integrity", _AUDIT),
}

_LONG_AGO = timedelta(days=30)  # since the last check of integrity
_ROWS = 20  # assessments on the timeline
_DAY = timedelta(days=1)


class Tile(NamedTuple):
    """A number with its name and what it means; ``state`` is fine, look or problem, and the words say it too."""

    name: str
    number: str
    words: str
    state: str = "fine"


def tidy(text: str, store: CaseStore) -> str:
    """Return a message without the folders of this machine."""
    for folder in (store.settings.reports, store.folder):
        for form in (str(folder.resolve()), str(folder)):
            text = text.replace(f"{form}/", "").replace(form, "the store")
    return text


def utc(at: datetime) -> str:
    """Return a time as the board writes it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def overview(review: GovernanceReview, *, checked: Mapping[str, Any] | None, now: datetime) -> list[Tile]:
    """Return the tiles at the top; nobody is named in them.

    Parameters
    ----------
    checked : result ("holds" or "broken") and time of the last check of integrity; None before the first.
    """
    dpias = review.dpias
    alive = dpias[dpias["state"].isin(["approved", "review due"])]
    due = int((alive["state"] == "review due").sum())
    expired = int((dpias["state"] == "expired").sum())
    words = [f"{due} to be reviewed within {REVIEW_NOTICE.days} days"] if due else []
    words += [f"{expired} expired"] if expired else []
    tiles = [
        Tile("Assessments in force", f"{len(alive)}", "; ".join(words) or "none is due", "look" if words else "fine")
    ]
    if alive.empty:
        tiles.append(
            Tile("Soonest to end", "–", "no assessment is in force: searches and forecasts are refused", "look")
        )
    else:
        first = alive.iloc[0]
        said = f"DPIA {first['DPIA']}, through {first['review by']}"
        state = "look" if first["state"] == "review due" else "fine"
        tiles.append(Tile("Soonest to end", _counted(int(first["days left"]), "day"), said, state))
    counts = ", ".join(f"{n} {word}" for word, n in review.runs["status"].value_counts().items())
    bad = bool((review.runs["status"] == "gone").any())
    tiles.append(Tile("Runs in the period", f"{len(review.runs)}", counts or "none", "problem" if bad else "fine"))
    unfinished = int((review.uses["outcome"] == "NO END RECORDED").sum())
    said = f"{unfinished} without a recorded end" if unfinished else "under an approval, each with a recorded end"
    tiles.append(Tile("Searches and forecasts", f"{len(review.uses)}", said if len(review.uses) else "none",
                      "look" if unfinished else "fine"))  # fmt: skip
    waiting = review.reviews[review.reviews["state"].str.startswith("awaiting")]
    days = (now - waiting["asked"].min()).days if len(waiting) else 0
    since = f"the oldest for {_counted(days, 'day')}" if days else "asked for today"
    said = since if len(waiting) else "none waits"
    tiles.append(Tile("Lists that wait for reviewers", f"{len(waiting)}", said, "look" if len(waiting) else "fine"))
    refused = len(review.refusals)
    tiles.append(Tile("Refusals in the period", f"{refused}", "what the rules stopped" if refused else "none"))
    return [*tiles, _bias_tile(review), _checked_tile(checked, now)]


def _bias_tile(review: GovernanceReview) -> Tile:
    states = review.bias.rows["state"]
    banded, outside = int(states.isin(["within", "outside"]).sum()), int((states == "outside").sum())
    if not banded:
        return Tile("Differentials outside their band", "–", "no report with an approved band has been kept")
    words = f"of {_counted(banded, 'measure')} with an approved band, in the last reports"
    return Tile("Differentials outside their band", f"{outside}", words, "look" if outside else "fine")


def _checked_tile(checked: Mapping[str, Any] | None, now: datetime) -> Tile:
    if checked is None:
        return Tile("Integrity", "Not checked", "never from this page", "look")
    if checked["result"] != "holds":
        return Tile("Integrity", "Does not hold", f"found {utc(checked['at'])}", "problem")
    late = now - checked["at"] > _LONG_AGO
    return Tile("Integrity", "Holds", f"last checked {utc(checked['at'])}{', a while ago' if late else ''}",
                "look" if late else "fine")  # fmt: skip


def tiles_html(tiles: Iterable[Tile]) -> str:
    """Return tiles as a list."""
    words = {"fine": "", "look": "Look: ", "problem": "Problem: "}
    items = "".join(
        f'<li class="cf-tile cf-tile-{t.state}"><span>{escape(t.name)}</span><b>{escape(t.number)}</b>'
        f"<small>{words[t.state]}{escape(t.words)}</small></li>"
        for t in tiles
    )
    return f'<ul class="cf-tiles">{items}</ul>'


def attention_html(sentences: Iterable[str]) -> str:
    """Return what needs somebody."""
    said = list(sentences)
    if not said:
        return '<div class="cf-attention cf-attention-none"><h2>Needs somebody</h2><p>Nothing in this period.</p></div>'
    items = "".join(f"<li>{escape(one)}</li>" for one in said)
    return f'<div class="cf-attention"><h2>Needs somebody</h2><ul>{items}</ul></div>'


# -- the timeline of assessments -----------------------------------------------------------------------------
def timeline_html(dpias: Iterable[DpiaStatus], *, today: date) -> str:
    """Return a bar for each assessment that was approved: approved, review due, expired; today is marked."""
    shown = [d for d in dpias if d.approved_at and d.review_by and d.state in ("approved", "review_due", "expired")]
    shown.sort(key=lambda d: (d.state == "expired", d.review_by or today))
    if not shown:
        return '<p class="cf-note">No assessment is in force or has expired, so there is no timeline.</p>'
    left_out = f'<p class="cf-note">{len(shown) - _ROWS} more stand in the table.</p>' if len(shown) > _ROWS else ""
    shown = shown[:_ROWS]
    begin = min([today, *(d.approved_at.date() for d in shown if d.approved_at)]) - timedelta(days=10)
    end = max([today, *(d.review_by for d in shown if d.review_by)]) + timedelta(days=25)
    days = (end - begin).days

    def at(day: date) -> float:
        return 100 * min(max((day - begin).days / days, 0), 1)

    rows = "".join(_bar(one, at, today=today) for one in shown)
    ticks = "".join(f'<span style="left:{at(day):.2f}%">{day:%b %Y}</span>' for day in _ticks(begin, end))
    legend = "".join(
        f'<span><i class="cf-bar-{css}"></i>{words}</span>'
        for css, words in (("approved", "approved"), ("due", "review due"), ("expired", "expired"), ("today", "today"))
    )
    axis = f'<div class="cf-axis" aria-hidden="true">{ticks}</div>'
    return f'<div class="cf-timeline"><div class="cf-legend">{legend}</div>{rows}{axis}</div>{left_out}'


def _bar(dpia: DpiaStatus, at: Any, *, today: date) -> str:
    assert dpia.approved_at is not None
    assert dpia.review_by is not None
    begun, over = dpia.approved_at.date(), dpia.review_by + _DAY
    due = max(over - REVIEW_NOTICE, begun)
    parts = [("approved", begun, due), ("due", due, over)] + ([("expired", over, today)] if today > over else [])
    drawn = "".join(
        f'<i class="cf-bar-{css}" style="left:{at(a):.2f}%;width:{max(at(b) - at(a), 0.4):.2f}%"></i>'
        for css, a, b in parts
    )
    left = (dpia.review_by - today).days
    ends = f"{_counted(left, 'day')} left" if left >= 0 else f"expired {_counted(-left, 'day')} ago"
    said = f"approved {begun:%d %b %Y}, review due from {due:%d %b %Y}, permits until {dpia.review_by:%d %b %Y}: {ends}"
    return (
        f'<div class="cf-span"><div class="cf-span-name"><b>DPIA {dpia.id}</b> {escape(dpia.title)}'
        f'<span>{ends}</span></div><div class="cf-track" role="img" aria-label="DPIA {dpia.id}: {said}" title="{said}">'
        f'{drawn}<i class="cf-bar-today" style="left:{at(today):.2f}%"></i></div></div>'
    )


def _ticks(begin: date, end: date) -> list[date]:
    """Return first days of months, at most five."""
    months = (end.year - begin.year) * 12 + end.month - begin.month + 1
    step = next(s for s in (1, 2, 3, 6, 12, 24, 60, 1200) if months / s <= 5)
    counted = (begin.year * 12 + begin.month + n for n in range(months))
    return [day for n in counted if n % step == 0 and begin <= (day := date(n // 12, n % 12 + 1, 1)) <= end]


# -- thresholds ----------------------------------------------------------------------------------------------
def effects_html(change: Any) -> str:
    """Return what a change of threshold does to the differentials between groups: before and after."""
    content = change.content
    rows = "".join(
        f"<tr><td>{escape(attribute)}</td><td>{escape(words)}</td>"
        f'<td class="num">{_ratio(before.get(measure))}</td><td class="num">{_ratio(after.get(measure))}</td></tr>'
        for attribute, before in content["differentials_before"]["differentials"].items()
        for after in [content["differentials_after"]["differentials"].get(attribute, {})]
        for measure, words in MEASURE_NAMES.items()
    )
    title = f"Change {change.id}: {content['model']}, {content['before']:g} → {content['after']:g}"
    head = "".join(f'<th scope="col"{c}>{h}</th>' for h, c in (
        ("attribute", ""), ("differential", ""), ("before", ' class="num"'), ("after", ' class="num"')))  # fmt: skip
    table = f'<table class="cf-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        f"<details><summary>{escape(title)}: effect on groups</summary>"
        f'<div class="cf-scroll" role="region" tabindex="0" aria-label="{escape(title)}">{table}</div></details>'
    )


def _ratio(value: Any) -> str:
    return "infinite" if value is None else f"{value:.3g}" if isinstance(value, int | float) else str(value)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
