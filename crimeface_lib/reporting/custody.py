"""The chain of custody as a figure: one line an event, one lane an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.style import (
    BLACK,
    BLUE,
    GREEN,
    INK,
    LINE,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILLION,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: Colour and shape together: told apart in grey as well.
_MARKS = {
    "collection": (BLUE, "o"), "derivation": (SKY, "s"), "combination": (SKY, "D"), "alteration": (PURPLE, "p"),
    "consultation": (MUTED, "o"), "disclosure": (ORANGE, ">"), "hold": (GREEN, "^"), "release": (GREEN, "v"),
    "refusal": (VERMILLION, "X"), "erasure": (BLACK, "X"),
}  # fmt: skip
_OTHER = (MUTED, "h")
_MOST_LANES, _MOST_ROWS, _LONGEST = 12, 80, 46
_LANE = 0.035  # of the figure's width


def custody_timeline(frame: pd.DataFrame) -> Figure:
    """Draw the custody events in order, one line each; a break in the line is a day or more.

    Of more than 80 events the last are drawn, and the figure says so. With more than one item, each of up to twelve
    has a lane of its own.

    Parameters
    ----------
    frame : columns ``time`` (UTC), ``event``, ``actor`` and, if there, ``purpose``, ``item`` and ``index``: an event
        about several items has a row for each.

    Raises
    ------
    SchemaError : a column is missing or there is no event.
    """
    missing = {"time", "event", "actor"} - set(frame.columns)
    if missing or frame.empty:
        raise SchemaError(
            f"custody events: got {len(frame)} rows with {list(frame.columns)}, expected time, event, actor"
        )
    events, lanes = _arrange(frame)
    left_out, events = max(len(events) - _MOST_ROWS, 0), events[-_MOST_ROWS:]
    width = _LANE * max(len(lanes) - 1, 0)
    with house_style():
        figure = new_figure(height=0.6 + 0.27 * len(events), alt=f"{len(events)} custody events in order of time")
        axes = figure.subplots()
        for lane in range(max(len(lanes), 1)):
            axes.plot([lane * _LANE] * 2, [0, len(events) - 1], color=LINE, linewidth=1.5, zorder=1)
        for row, event in enumerate(events):
            gap = row and event["time"] - events[row - 1]["time"]
            if gap and gap.days:
                words = f"{gap.days} day{'s' * (gap.days > 1)} later"
                axes.plot([-0.3, 1.1], [row - 0.5] * 2, color=LINE, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
                axes.text(
                    -0.3,
                    row - 0.5,
                    words,
                    size=6.5,
                    color=MUTED,
                    va="center",
                    bbox={"fc": PAPER, "ec": "none", "pad": 1},
                )
            _draw_event(axes, row, event, lanes=lanes, width=width)
        heads = [(-0.03, "time, UTC", "right"), (width + 0.03, "event", "left"), (width + 0.22, "by", "left")]
        heads += [(width + 0.48, "purpose", "left")] if "purpose" in frame else []
        for x, words, side in heads:
            axes.text(x, -1.0, words, ha=side, va="center", color=MUTED, size=7.5)
        for lane, item in enumerate(lanes if len(lanes) > 1 else []):
            axes.text(lane * _LANE, -0.6, item[:4], rotation=90, ha="center", va="bottom", color=MUTED, size=6.5)
        if left_out:
            axes.text(-0.3, len(events), f"{left_out} earlier events are not shown", color=MUTED, size=7.5, va="center")
        axes.set(xlim=(-0.32, 1.1), ylim=(len(events) + 0.4, -1.7))
        axes.set_axis_off()
    return figure


def _arrange(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], list[str]]:
    """Return one record an event, with its items, in order of time; and the items that get a lane."""
    frame = frame.sort_values("time", kind="stable")
    key = frame["index"] if "index" in frame else range(len(frame))
    events: dict[Any, dict[str, Any]] = {}
    for at, row in zip(key, frame.to_dict(orient="records"), strict=True):
        event = events.setdefault(at, {**row, "items": []})
        if isinstance(row.get("item"), str):
            event["items"].append(row["item"])
    lanes = list(dict.fromkeys(item for event in events.values() for item in event["items"]))
    return list(events.values()), lanes if len(lanes) <= _MOST_LANES else []


def _draw_event(axes: Any, row: int, event: dict[str, Any], *, lanes: list[str], width: float) -> None:
    colour, shape = _MARKS.get(str(event["event"]), _OTHER)
    places = [lanes.index(item) * _LANE for item in event["items"] if item in lanes] or [0.0]
    axes.plot([min(places), max(places)], [row, row], color=colour, linewidth=1.2, zorder=2)
    axes.scatter(places, [row] * len(places), s=38, c=colour, marker=shape, edgecolor=PAPER, linewidth=0.6, zorder=3)
    purpose = str(event.get("purpose") or "")
    axes.text(-0.03, row, f"{event['time']:%Y-%m-%d  %H:%M:%S}", ha="right", va="center", color=MUTED)
    axes.text(width + 0.03, row, str(event["event"]), va="center", weight="bold", color=INK)
    axes.text(width + 0.22, row, str(event["actor"])[:18], va="center")
    shown = purpose if len(purpose) <= _LONGEST else purpose[: _LONGEST - 1] + "…"
    axes.text(width + 0.48, row, shown, va="center", color=MUTED)
