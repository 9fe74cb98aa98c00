"""Which item was made from which, as a figure: originals on the left, what was made from them to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crimeface_lib.core.errors import SchemaError
from crimeface_lib.reporting.style import BLUE, INK, LINE, MUTED, PAPER, SKY, WASH, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crimeface_lib.evidence import Lineage

_MOST = 60
_WIDE, _HIGH = 0.62, 0.62  # of a box, where columns and rows are one apart


def lineage_figure(lineage: Lineage) -> Figure:
    """Draw a family of items: a box each, an arrow from each parent, labelled with the process.

    Items that neither have a parent nor were made into anything are counted, not drawn, when there are more than 60.

    Raises
    ------
    SchemaError : no item, or more than 60 with relatives.
    """
    parents = dict(lineage.parents)
    related = {id for id, of in parents.items() if of} | {parent for of in parents.values() for parent in of}
    alone = [id for id in parents if id not in related]
    shown = [id for id in parents if id in related or len(parents) <= _MOST]
    for parent in sorted(related - set(parents)):  # of another case, or erased: known by its id only
        parents[parent] = ()
        shown.insert(0, parent)
    if not parents or len(shown) > _MOST:
        raise SchemaError(f"lineage: got {len(shown)} items to draw, expected 1 to {_MOST}; choose an item's family")
    places = _place(shown, parents)
    columns = 1 + max(x for x, _ in places.values())
    rows = 1 + max(y for _, y in places.values())
    with house_style():
        figure = new_figure(height=0.5 + 0.72 * rows, alt=f"{len(shown)} items and what each was made from")
        axes = figure.subplots()
        for id, (x, y) in places.items():
            item = lineage.items.get(id)
            edge = BLUE if not parents[id] else SKY
            box = {"boxstyle": "round,pad=0.45", "fc": WASH if item else PAPER, "ec": edge if item else LINE}
            words = f"{item.name or item.kind}\n{id[:8]}" if item else f"not of this case\n{id[:8]}"
            axes.text(x, y, words, ha="center", va="center", size=8, color=INK if item else MUTED, bbox=box)
            for parent in parents[id]:
                start = places[parent]
                ends: Any = {"xy": (x - 0.5 * _WIDE, y), "xytext": (start[0] + 0.5 * _WIDE, start[1])}
                axes.annotate("", **ends, arrowprops={"arrowstyle": "-|>", "color": MUTED, "shrinkA": 0, "shrinkB": 0})
            if parents[id] and item and item.tool:
                middle = (x + places[parents[id][0]][0]) / 2, (y + places[parents[id][0]][1]) / 2
                place: Any = {"xytext": (0, 4), "textcoords": "offset points"}
                axes.annotate(item.tool, middle, **place, ha="center", va="bottom", size=7, color=MUTED)
        if len(shown) < len(lineage.parents):
            axes.text(0, rows - 0.4, f"{len(alone)} more originals, from which nothing was made", color=MUTED, size=7.5)
        axes.set(xlim=(-0.6, max(columns - 0.4, 2.4)), ylim=(rows - 0.3, -0.7))
        axes.set_axis_off()
    return figure


def _place(shown: list[str], parents: dict[str, tuple[str, ...]]) -> dict[str, tuple[int, int]]:
    """Return column (steps from an original) and row of each; children beside their first parent."""
    depth: dict[str, int] = {}
    for _ in shown:  # a parent may come after its child in the list: as many passes as there are generations
        before = dict(depth)
        for id in shown:
            depth[id] = 1 + max((depth.get(parent, 0) for parent in parents[id]), default=-1)
        if depth == before:
            break
    children: dict[str, list[str]] = {id: [] for id in shown}
    for id in shown:
        if parents[id]:
            children[parents[id][0]].append(id)
    places: dict[str, tuple[int, int]] = {}
    row = 0
    stack = [id for id in reversed(shown) if not parents[id]]
    while stack:
        id = stack.pop()
        beside = bool(parents[id]) and children[parents[id][0]][0] == id
        row += 0 if beside or not places else 1
        places[id] = (depth[id], row)
        stack += reversed(children[id])
    return places
