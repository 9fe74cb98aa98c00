"""What ``bench_crime.py`` measures of forecasts of counts, beside AutoETS in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from bench_timing import Benchmark, Measured, Options, Sample

from crimeface_lib import crime

_PEER = "statsforecast AutoETS"
_HOW = (
    "3 months ahead from the last origins, each series; Merseyside and City of London by type, Chicago's aggravated "
    "assaults by district; 18 origins with --full, else 2 of Merseyside"
)
ROWS = [
    Benchmark("crime", "forecast, error beside AutoETS", "of its MASE", ("≤ 0.95 of its MASE",), _PEER,
              f"{_HOW}; AutoETS gets gaps filled by straight lines", "statsforecast"),
    Benchmark("crime", "forecast, time", "s", ("≥ 50×",), _PEER, f"all of these forecasts; {_HOW}", "statsforecast"),
    Benchmark("crime", "forecast, share in 80 % intervals", "%", ("≥ 75 %", "≤ 85 %"), _PEER,
              f"of months ahead; {_HOW}; no bar where months are few", "statsforecast"),
]  # fmt: skip


def _series(options: Options) -> Iterator[tuple[str, Any]]:
    import pandas as pd

    for place in ("merseyside", "city-of-london"):
        events = crime.read_events(options.real(f"crime/uk/{place}-2018-01_2021-09.zip"))
        yield place, crime.monthly_series(events, by="type").frame
        if not options.full:
            return
    table = pd.read_csv(options.real("crime/chicago/chicago_aggravated_assaults.csv.gz"), parse_dates=["date"])
    counts = pd.crosstab(table["date"].dt.to_period("M"), table["district"]).astype(float)
    yield "Chicago districts", counts


def _by_turns(frame: Any, origins: int, horizon: int = 3) -> dict[str, Any]:
    """Return scaled errors and seconds of both, and the share of months inside our intervals."""
    from statsforecast.models import AutoETS

    found: dict[str, Any] = {"ours": [], "peer": [], "inside": [], "ours s": np.zeros(2), "peer s": np.zeros(2)}
    last = len(frame) - horizon
    AutoETS(season_length=12).forecast(y=np.arange(36.0), h=1)  # compiles
    crime.forecast(frame.iloc[:last], horizon=horizon)
    for cut in range(last - origins + 1, last + 1):
        past, future = frame.iloc[:cut], frame.iloc[cut : cut + horizon].to_numpy()
        scale = np.nanmean(np.abs(past.diff(12).to_numpy()), axis=0)
        began = time.perf_counter(), time.process_time()
        table = crime.forecast(past, horizon=horizon).table
        middle = time.perf_counter(), time.process_time()
        filled = past.interpolate(limit_direction="both").to_numpy()
        theirs = [AutoETS(season_length=12).forecast(y=one, h=horizon)["mean"] for one in filled.T]
        end = time.perf_counter(), time.process_time()
        leaf = table[table["level"] == table["level"].iloc[-1]]
        expected, low, high = (leaf[name].to_numpy().reshape(-1, horizon).T for name in ("expected", "low", "high"))
        known = np.isfinite(future)
        found["ours"].append(np.nanmean(np.abs(future - expected) / scale))
        found["peer"].append(np.nanmean(np.abs(future - np.stack(theirs, axis=1)) / scale))
        found["inside"].append(((future >= low) & (future <= high))[known].mean())
        found["ours s"] += np.subtract(middle, began)
        found["peer s"] += np.subtract(end, middle)
    return found


def measure(options: Options) -> Iterator[tuple[str, Callable[[], Measured]]]:
    @cache
    def runs() -> dict[str, dict[str, Any]]:
        origins = 18 if options.full else 2
        return {name: _by_turns(frame, origins) for name, frame in _series(options)}

    def told(key: Callable[[dict[str, Any]], float]) -> str:
        return ", ".join(f"{name} {key(one):.3f}" for name, one in runs().items())

    def error() -> Measured:
        ratio = lambda one: float(np.mean(one["ours"]) / np.mean(one["peer"]))  # noqa: E731
        return Measured((float(np.mean([ratio(one) for one in runs().values()])),), None, told(ratio))

    def seconds() -> Measured:
        ours, peer = (tuple(sum(one[f"{side} s"] for one in runs().values()).tolist()) for side in ("ours", "peer"))
        samples: dict[str, list[Sample]] = {"ours": [ours], "peer": [peer]}
        return Measured(ours, peer, "one turn after a warm-up", samples=samples)

    def inside() -> Measured:
        share = lambda one: float(np.mean(one["inside"]))  # noqa: E731
        few = "" if options.full else "2 origins"
        return Measured((100 * float(np.mean([share(one) for one in runs().values()])),), None, told(share), few)

    yield "forecast, error beside AutoETS", error
    yield "forecast, time", seconds
    yield "forecast, share in 80 % intervals", inside
