"""Crimes of a town that does not exist, in data.police.uk's own layout, with the truth they were drawn from.

The town lies in the North Sea, its force is "Demo Constabulary", and its streets, LSOAs and ids are invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.display import Shown, table_html
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.random import Seed, make_rng
from crimeface_lib.core.results import Result
from crimeface_lib.core.types import BoolArray, FloatArray, IntArray
from crimeface_lib.crime._layouts import STREET_COLUMNS
from crimeface_lib.crime.events import ASB
from crimeface_lib.crime.ingest import SYNTHETIC_FORCE
from crimeface_lib.synthetic.police_files import OUTCOMES, draw_outcomes, draw_stops

if TYPE_CHECKING:
    import pandas as pd
    from shapely.geometry import Polygon

CRS = "EPSG:27700"
CENTRE = (620_000.0, 450_000.0)  # metres; 53.9° N 1.3° E, at sea
_SPACING = 180.0  # metres between snap points, before jitter
_LSOA_COUNT = 48
#: Months from an event to its near repeat, and how likely each is.
REPEAT_DELAY = (0.5, 0.3, 0.2)
#: A near repeat falls on the very point of the first event this often, else on one of its nearest neighbours.
REPEAT_SAME_POINT = 0.6

#: type: share of events, seasonal amplitude, peak month (1-12), growth a year, near-repeat share, pull of the centre
_TYPES: dict[str, tuple[float, float, int, float, float, float]] = {
    "Violence and sexual offences": (0.29, 0.10, 7, 0.03, 0.00, 0.35),
    ASB: (0.20, 0.30, 7, -0.05, 0.00, 0.30),
    "Criminal damage and arson": (0.09, 0.12, 5, 0.00, 0.15, 0.15),
    "Public order": (0.08, 0.12, 7, 0.04, 0.00, 0.50),
    "Shoplifting": (0.07, 0.10, 11, 0.06, 0.00, 0.85),
    "Vehicle crime": (0.07, 0.10, 1, -0.04, 0.20, 0.10),
    "Burglary": (0.06, 0.20, 12, -0.06, 0.30, 0.05),
    "Other theft": (0.05, 0.08, 8, 0.00, 0.00, 0.55),
    "Drugs": (0.03, 0.00, 1, 0.00, 0.00, 0.45),
    "Other crime": (0.02, 0.00, 1, 0.00, 0.00, 0.25),
    "Bicycle theft": (0.02, 0.35, 8, 0.00, 0.00, 0.60),
    "Theft from the person": (0.01, 0.10, 12, 0.02, 0.00, 0.80),
    "Possession of weapons": (0.005, 0.00, 1, 0.00, 0.00, 0.40),
    "Robbery": (0.005, 0.05, 11, 0.00, 0.00, 0.50),
}
_FIRST = ("Example", "Sample", "Specimen", "Fictional", "Imaginary", "Invented", "Pattern", "Sketch", "Trial", "Mock")
_SECOND = ("Street", "Road", "Lane", "Close", "Avenue", "Drive", "Way", "Court", "Gardens", "Terrace", "Grove", "Walk")


@dataclass(frozen=True, slots=True)
class CrimeTruth(Shown):
    """What the sample was drawn from; nothing of it can be read in the table.

    Parameters
    ----------
    area : outline of the town, in ``crs``.
    points : snap points with x, y, longitude, latitude, addresses (at least 8), street and LSOA.
    background : (types, points) probability of each point for an event that is no repeat; rows follow ``types``.
    seasonality : (types, 12) factor of each calendar month, mean 1.
    growth : (types,) change of the rate a year, as a factor less 1.
    repeat_share : (types,) share of events that are near repeats of an earlier one.
    is_background : per row of the table, whether the event is no near repeat.
    gap : the month that was not published, e.g. "2024-03".
    duplicates, without_location : how many rows were repeated, and lost their place.
    reporting : (groups,) share of what happened that is in the table; ``points["group"]`` tells each point's group of
        LSOAs. occurred : events that happened in the months published, reported or not, by LSOA, group and type:
        what a victim survey of everybody would have found.
    """

    area: Polygon
    crs: str
    points: pd.DataFrame
    types: tuple[str, ...]
    background: FloatArray
    seasonality: FloatArray
    growth: FloatArray
    repeat_share: FloatArray
    is_background: BoolArray
    gap: str
    duplicates: int
    without_location: int
    reporting: FloatArray
    occurred: pd.DataFrame


@dataclass(frozen=True, slots=True)
class SyntheticCrimes(Result):
    """Tables in the layouts of data.police.uk's street, outcome, and stop-and-search files, and the truth."""

    table: pd.DataFrame = field(repr=False)
    outcomes: pd.DataFrame = field(repr=False)
    stops: pd.DataFrame = field(repr=False)
    truth: CrimeTruth = field(repr=False)

    def to_frame(self) -> pd.DataFrame:
        """The table."""
        return self.table

    def to_dict(self) -> dict[str, Any]:
        return {"rows": len(self.table), "gap": self.truth.gap, "duplicates": self.truth.duplicates}

    def _repr_html_(self) -> str:
        return table_html(self.table, rows=10)


def synthetic_crimes(
    *,
    months: int = 36,
    start: str = "2023-01",
    per_month: float = 1000.0,
    reporting: Sequence[float] = (1.0,),
    rng: Seed = None,
) -> SyntheticCrimes:
    """Draw monthly crimes of a fictional town.

    Each type has its own places, season, trend and share of near repeats. As in the real files, anti-social behaviour
    has no id, 1 % of the events have no location, 0.2 % of the rows are there twice, and one month is missing.

    Parameters
    ----------
    months : how many, at least 3; the third quarter of the span loses one.
    per_month : mean number of events a month at the start.
    reporting : shares of events that are reported, in as many sectors of the town as there are shares.

    Raises
    ------
    InputError : fewer than 3 months, a rate that is not positive, a share outside 0 to 1.
    """
    import pandas as pd

    heard = np.asarray(reporting, dtype=np.float64)
    if months < 3 or not per_month > 0 or heard.ndim != 1 or not heard.size or not ((heard > 0) & (heard <= 1)).all():
        raise InputError(
            f"got months={months}, per_month={per_month}, reporting={reporting}, expected at least 3 months, a rate "
            "above 0 and shares above 0 and at most 1"
        )
    gen = make_rng(rng, stream="synthetic_crimes")
    area, points = _town(gen)
    points["group"] = _sectors(points, len(heard))
    types = tuple(_TYPES)
    share, amplitude, peak, growth, repeat, pull = np.array(list(_TYPES.values())).T
    calendar = pd.period_range(start, periods=months, freq="M")
    season = 1 + amplitude[:, None] * np.cos(2 * np.pi * (np.arange(1, 13) - peak[:, None]) / 12)
    rate = (
        per_month * share[:, None] * (1 + growth[:, None]) ** (np.arange(months) / 12) * season[:, calendar.month - 1]
    )
    background = _background(points, pull, gen)
    kind, month, place, first = _draw(rate, background, repeat, points, gen)
    order = np.lexsort((gen.random(len(month)), month))
    kind, month, place, first = kind[order], month[order], place[order], first[order]
    table = _table(kind, month, place, points, types, calendar, gen)
    gap = int(months * 0.6)
    other = make_rng(rng, stream="synthetic_records")
    published = month != gap
    reported = published & (other.random(len(month)) < heard[points["group"].to_numpy()[place]])
    keep = np.flatnonzero(reported)
    with_id = np.flatnonzero(table["Crime ID"].notna().to_numpy() & reported)
    twice = gen.choice(with_id, size=round(0.002 * len(keep)), replace=False)
    keep = np.sort(np.r_[keep, twice], kind="stable")
    at = points.iloc[place[published]].reset_index(drop=True)[["lsoa_code", "group"]]
    occurred = at.assign(type=np.array(types, dtype=object)[kind[published]])
    occurred = (
        occurred.groupby(["lsoa_code", "group", "type"], as_index=False).size().rename(columns={"size": "events"})
    )
    table = table.iloc[keep].reset_index(drop=True)
    truth = CrimeTruth(
        area, CRS, points, types, background, season, growth, repeat, first[keep], str(calendar[gap]), len(twice),
        int(table["Longitude"].isna().sum()), heard, occurred,
    )  # fmt: skip
    searched = background[[types.index("Drugs"), types.index("Possession of weapons")]].mean(axis=0)
    shown = [str(one) for one in calendar.delete(gap)]
    stops = draw_stops(points, searched / searched.sum(), shown, 0.05 * per_month, other)
    return SyntheticCrimes(table, draw_outcomes(table, other), stops, truth)


def _town(gen: np.random.Generator) -> tuple[Polygon, pd.DataFrame]:
    """Return the outline and the snap points with their streets and LSOAs."""
    import pandas as pd
    import shapely
    from pyproj import Transformer
    from scipy.spatial import cKDTree

    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = np.full(120, 3800.0)
    for wave in range(2, 6):
        radius += gen.normal(0, 350.0 / wave) * np.cos(wave * angle + gen.uniform(0, 2 * np.pi))
    outline = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None] + CENTRE
    area = shapely.Polygon(np.round(outline, 1))
    steps = np.arange(-5000.0, 5000.0, _SPACING)
    xy = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) + CENTRE
    xy = xy + gen.uniform(-0.35, 0.35, size=xy.shape) * _SPACING
    xy = xy[shapely.contains_xy(area.buffer(-40), xy[:, 0], xy[:, 1])]
    longitude, latitude = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True).transform(xy[:, 0], xy[:, 1])
    number = cKDTree(xy[gen.choice(len(xy), _LSOA_COUNT, replace=False)]).query(xy)[1]
    points = pd.DataFrame(
        {"x": xy[:, 0], "y": xy[:, 1], "longitude": longitude.round(6), "latitude": latitude.round(6)}
    )
    points["addresses"] = 8 + gen.poisson(20, len(xy))
    first, second = gen.choice(_FIRST, len(xy)), gen.choice(_SECOND, len(xy))
    points["street"] = [f"On or near {a} {b}" for a, b in zip(first, second, strict=True)]
    points["lsoa_code"] = [f"D{1_000_001 + n:08d}" for n in number]
    points["lsoa_name"] = [f"Demo {1 + n // 5:03d}{'ABCDE'[n % 5]}" for n in number]
    return area, points


def _sectors(points: pd.DataFrame, number: int) -> IntArray:
    """Return (P,) groups 0 to number - 1: whole LSOAs, told apart by their bearing from the centre."""
    middle = points.groupby("lsoa_code")[["x", "y"]].transform("mean").to_numpy() - CENTRE
    turn = (np.arctan2(middle[:, 1], middle[:, 0]) / (2 * np.pi)) % 1.0
    return np.minimum((turn * number).astype(np.int64), number - 1)


def _background(points: pd.DataFrame, pull: FloatArray, gen: np.random.Generator) -> FloatArray:
    """Return (types, points) probabilities: the centre, three estates of each type's own mix, and every address."""
    xy = points[["x", "y"]].to_numpy() - CENTRE
    bearing = gen.uniform(0, 2 * np.pi) + np.arange(3) * 2 * np.pi / 3
    estates = np.column_stack([np.cos(bearing), np.sin(bearing)]) * gen.uniform(1500, 2500, size=(3, 1))

    def bump(centre: FloatArray, sd: float) -> FloatArray:
        weight = np.exp(-((xy - centre) ** 2).sum(axis=1) / (2 * sd**2))
        return weight / weight.sum()

    near = np.array([bump(e, 450.0) for e in estates])
    addresses = points["addresses"].to_numpy() * gen.gamma(1.5, size=len(points))  # some streets have more than others
    spread = addresses / addresses.sum()
    mix = gen.dirichlet(np.full(3, 2.0), size=len(pull))
    centre = bump(np.zeros(2), 500.0)
    local = (1 - pull)[:, None] * (0.4 * mix @ near + 0.6 * spread)
    weight = (pull[:, None] * centre + local) * gen.gamma(2.0, size=(len(pull), len(points)))
    return weight / weight.sum(axis=1, keepdims=True)


def _draw(
    rate: FloatArray, background: FloatArray, repeat: FloatArray, points: pd.DataFrame, gen: np.random.Generator
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Return per event its type, month, point, and whether it is no near repeat."""
    from scipy.spatial import cKDTree

    counts = gen.poisson(rate * (1 - repeat[:, None]))
    kind = np.repeat(np.arange(len(rate)), counts.sum(axis=1))
    month = np.concatenate([np.repeat(np.arange(rate.shape[1]), row) for row in counts])
    drawn = [gen.choice(len(points), n, p=p) for n, p in zip(counts.sum(axis=1), background, strict=True)]
    place = np.concatenate(drawn)
    parent = np.repeat(np.arange(len(kind)), gen.poisson(repeat[kind] / (1 - repeat[kind])))
    xy = points[["x", "y"]].to_numpy()
    neighbours = cKDTree(xy).query(xy, k=5)[1][:, 1:]
    away = gen.random(len(parent)) >= REPEAT_SAME_POINT
    step = neighbours[place[parent], gen.integers(4, size=len(parent))]
    late = month[parent] + gen.choice(len(REPEAT_DELAY), len(parent), p=REPEAT_DELAY)
    keep = late < rate.shape[1]
    parent, repeats, late = parent[keep], np.where(away, step, place[parent])[keep], late[keep]
    first = np.r_[np.ones(len(kind), dtype=bool), np.zeros(len(parent), dtype=bool)]
    return np.r_[kind, kind[parent]], np.r_[month, late], np.r_[place, repeats], first


def _table(
    kind: IntArray, month: IntArray, place: IntArray, points: pd.DataFrame, types: tuple[str, ...],
    calendar: pd.PeriodIndex, gen: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    import pandas as pd

    number = len(kind)
    digits = gen.bytes(32 * number).hex()
    ids = np.array([digits[64 * i : 64 * i + 64] for i in range(number)], dtype=object)
    outcomes = np.array(list(OUTCOMES), dtype=object)[gen.choice(len(OUTCOMES), number, p=list(OUTCOMES.values()))]
    asb = kind == types.index(ASB)
    lost = gen.random(number) < 0.01
    at = points.iloc[place].reset_index(drop=True)
    names = np.array(types, dtype=object)[kind]
    columns = {
        "Crime ID": pd.Series(ids).mask(asb),
        "Month": np.array([str(m) for m in calendar], dtype=object)[month],
        "Reported by": SYNTHETIC_FORCE,
        "Falls within": SYNTHETIC_FORCE,
        "Longitude": at["longitude"].mask(lost),
        "Latitude": at["latitude"].mask(lost),
        "Location": at["street"].mask(lost, "No Location"),
        "LSOA code": at["lsoa_code"].mask(lost),
        "LSOA name": at["lsoa_name"].mask(lost),
        "Crime type": names,
        "Last outcome category": pd.Series(outcomes).mask(asb),
        "Context": None,
    }
    return pd.DataFrame(columns)[list(STREET_COLUMNS)]
