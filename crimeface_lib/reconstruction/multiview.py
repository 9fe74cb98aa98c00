"""What each further photo of one person adds: a surer shape, and a better guess of photos not yet seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import Progress
from crimeface_lib.metrics.surface import align
from crimeface_lib.reconstruction.fit import Fit, fit_landmarks
from crimeface_lib.reconstruction.morphable import MorphableModel
from crimeface_lib.reconstruction.view import View

if TYPE_CHECKING:
    import pandas as pd


_WORDS = {
    "sets": "choices", "held_out": "error in photos left out, %", "held_out_low": "lowest, %",
    "held_out_high": "highest, %", "vertex_sd": "surface sd, mm", "from_all": "from the face of all, mm",
    "information": "modes told",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ViewGain(Result):
    """The fit from 0, 1, 2, … of the photos; 0 is the model's average face.

    Parameters
    ----------
    table : one row a number of photos: ``photos``, ``sets`` (choices of that many photos that were fitted),
        ``held_out`` (landmark error in the photos left out, % of the distance between the outer eye corners as seen
        from the front; the face kept, camera and expression fitted; missing where none is left out),
        ``held_out_low`` and ``held_out_high`` (lowest and highest set), ``vertex_sd`` (median over the face, mm),
        ``from_all`` (median distance to the face fitted to all photos, similarity removed, mm), ``information``
        (modes' worth the photos told).
    warnings : what speaks against the photos being of one person, or against their use.
    """

    table: pd.DataFrame
    photos: int
    warnings: tuple[str, ...] = field(default=())

    def to_frame(self) -> pd.DataFrame:
        """The table with its columns in words."""
        return self.table.rename(columns=_WORDS)

    def in_words(self) -> str:
        """Return what the photos together gained over one, in two sentences."""
        rows = self.table.set_index("photos")
        held = [f"{rows.loc[0].held_out:.1f} % of the distance between the eyes with the average face"]
        held += [f"{rows.loc[k].held_out:.1f} % with a face from {k}" for k in sorted({1, self.photos - 1})]
        return (
            f"From one photo the surface is known to ± {rows.loc[1].vertex_sd:.1f} mm, from {self.photos} to ± "
            f"{rows.loc[self.photos].vertex_sd:.1f} mm (median, one standard deviation). Landmarks of photos left out "
            f"were missed by {', '.join(held)}."
        )

    def to_dict(self) -> dict[str, Any]:
        return {"photos": self.photos, "table": to_plain(self.table), "warnings": list(self.warnings)}


def gain_of_views(
    model: MorphableModel,
    views: list[View],
    *,
    shared_expression: bool = False,
    sets: int = 8,
    rng: Seed = None,
    progress: Progress | None = None,
) -> ViewGain:
    """Fit to every choice of 1, 2, … photos and try each face on the photos left out.

    The error on photos left out is the honest one: it can rise where a photo is of somebody else, which no standard
    deviation of the fit shows.

    Parameters
    ----------
    sets : at most so many choices of each number of photos; drawn by ``rng`` where there are more.
    progress : called with how many numbers of photos are done, and of how many.

    Raises
    ------
    InputError : fewer than 2 views.
    """
    import pandas as pd

    if len(views) < 2:
        raise InputError(f"views: got {len(views)}, expected at least 2 photos of one person")
    gen = make_rng(rng, stream="gain_of_views")
    start, stop = model.regions["face"]
    whole = fit_landmarks(model, views, shared_expression=shared_expression)
    final = model.decode(whole.identity)[start:stop]
    everyone = frozenset(range(len(views)))
    average = [_seen_error(model, np.zeros(len(model.identity)), views[k]) for k in sorted(everyone)]
    rows = [_row(0, [(float(np.mean(average)), np.nan, _apart(model.mean[start:stop], final), 0.0)])]
    for count in range(1, len(views) + 1):
        found = []
        for chosen in _choices(len(views), count, sets, gen):
            taken = [views[k] for k in chosen]
            fit = whole if count == len(views) else fit_landmarks(model, taken, shared_expression=shared_expression)
            left = [_seen_error(model, fit.identity, views[k]) for k in sorted(everyone - set(chosen))]
            apart = _apart(model.decode(fit.identity)[start:stop], final)
            sd = float(np.median(fit.vertex_sd[start:stop]))
            found.append((float(np.mean(left)) if left else np.nan, sd, apart, fit.information))
        rows.append(_row(count, found))
        if progress is not None:
            progress(count, len(views))
    table = pd.DataFrame(rows)
    return ViewGain(table, len(views), _warnings(table, whole))


def _choices(total: int, count: int, sets: int, gen: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Yield up to ``sets`` different choices of ``count`` of ``total`` photos."""
    if comb(total, count) <= sets:
        yield from combinations(range(total), count)
        return
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < sets:
        drawn.add(tuple(sorted(int(k) for k in gen.choice(total, count, replace=False))))
    yield from sorted(drawn)


def _seen_error(model: MorphableModel, identity: np.ndarray, view: View) -> float:
    """Return the landmark error of a known face in a photo, % of the distance between the outer eye corners."""
    person = replace(model, mean=model.decode(identity), identity=model.identity[:0])
    adapted = fit_landmarks(person, [view])
    camera, shown = adapted.cameras[0], model.landmarks(model.decode(identity, adapted.expressions[0]))
    off = np.linalg.norm(camera.project(shown)[0] - view.points, axis=1)[17:]  # the jaw's landmarks slide
    eyes = np.linalg.norm(shown[36] - shown[45]) * camera.focal / np.linalg.norm(camera.centre - shown.mean(0))
    return float(100 * np.nanmean(off) / eyes)


def _apart(shape: np.ndarray, final: np.ndarray) -> float:
    moved = align(shape, final).apply(shape)
    return float(np.median(np.linalg.norm(moved - final, axis=1)))


def _row(count: int, found: list[tuple[float, float, float, float]]) -> dict[str, float]:
    held, sd, apart, information = np.array(found).T
    none = bool(np.isnan(held).all())
    return {
        "photos": count, "sets": len(found),
        "held_out": np.nan if none else float(held.mean()),
        "held_out_low": np.nan if none else float(held.min()), "held_out_high": np.nan if none else float(held.max()),
        "vertex_sd": float(sd.mean()), "from_all": float(apart.mean()), "information": float(information.mean()),
    }  # fmt: skip


def _warnings(table: pd.DataFrame, whole: Fit) -> tuple[str, ...]:
    held = table["held_out"].to_numpy()
    said = list(whole.warnings)
    if held[-2] > held[0]:
        said.append(
            "A face fitted to all photos but one explains the one left out no better than the average face does: the "
            "photos may not show one person, or the landmarks are poor."
        )
    return tuple(said)
