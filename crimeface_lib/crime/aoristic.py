"""When, if only a span is known: each event's weight over the hours of day or week that it may have happened in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crimeface_lib.core.display import list_html, table_html
from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.core.results import Result, to_plain
from crimeface_lib.core.types import FloatArray, IntArray
from crimeface_lib.crime.events import Events, refuse_person_columns

if TYPE_CHECKING:
    import pandas as pd

By = Literal["hour", "weekday", "week"]
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
#: Bins of a cycle, seconds of each, seconds from the epoch (a Thursday) to the start of a cycle.
_CYCLES = {"hour": (24, 3600, 0), "weekday": (7, 86400, 4 * 86400), "week": (168, 3600, 4 * 86400)}
_MAX_WEIGHTS = 50_000_000


@dataclass(frozen=True, slots=True)
class Aoristic(Result):
    """Events expected in each hour or day, given spans.

    Parameters
    ----------
    expected : (B,) sum of the weights; all bins together are the number of events.
    sd : (B,) of the true count about ``expected``, if each event's time is uniform over its span and independent.
    certain : (B,) events whose whole span lies in the bin.
    by : "hour" (24 bins), "weekday" (7) or "week" (168, Monday 0 h first).
    events : how many were spread; dropped : how many had no start or no end.
    spans : median span in hours, and how many are longer than the cycle, which tell nothing of the bin.
    """

    expected: FloatArray = field(repr=False)
    sd: FloatArray = field(repr=False)
    certain: IntArray = field(repr=False)
    by: str
    events: int
    dropped: int
    median_span_hours: float
    longer_than_cycle: int
    timezone: str | None
    caveats: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per bin: ``weekday`` and ``hour`` (0–23) as far as they vary, expected, sd, certain."""
        import pandas as pd

        bins = np.arange(len(self.expected))
        days = {"hour": None, "weekday": bins, "week": bins // 24}[self.by]
        table = {} if days is None else {"weekday": np.array(WEEKDAYS)[days]}
        table |= {} if self.by == "weekday" else {"hour": bins % 24}
        return pd.DataFrame(table | {"expected": self.expected, "sd": self.sd, "certain": self.certain})

    def by_weekday_and_hour(self) -> FloatArray:
        """Return (7, 24) expected events, Monday first.

        Raises
        ------
        InputError : the result is not by "week".
        """
        if self.by != "week":
            raise InputError(f"aoristic: got a result by {self.by!r}, expected one by='week'")
        return self.expected.reshape(7, 24)

    def to_dict(self) -> dict[str, Any]:
        return {
            "by": self.by, "events": self.events, "dropped": self.dropped, "timezone": self.timezone,
            "median_span_hours": self.median_span_hours, "longer_than_cycle": self.longer_than_cycle,
            "bins": to_plain(self.to_frame()), "caveats": list(self.caveats),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        busiest = self.to_frame().nlargest(8, "expected").round(1)
        return (
            f"<p><b>{self.events:,} events</b>, median span {self.median_span_hours:.1f} h, {self.dropped:,} without a "
            f"span; the busiest bins:</p>{table_html(busiest)}{list_html(self.caveats)}"
        )


def aoristic(
    events: Events | pd.DataFrame,
    *,
    start: str = "time",
    end: str = "end",
    by: By = "week",
    timezone: str | None = None,
    missing: Literal["refuse", "drop"] = "refuse",
) -> Aoristic:
    """Spread each event evenly over its span and sum up by hour of day, weekday, or hour of the week.

    A span may run over midnight or last longer than the cycle; one that has no length counts at its instant. Bins
    hold their start and not their end.

    Parameters
    ----------
    events : a table, or events, with columns of the earliest and the latest time.
    start, end : those columns; local times, or times with a zone when ``timezone`` is given.
    timezone : e.g. "Europe/London": spans are then measured in hours that passed, so that the night of 23 or 25 hours
        counts as such. Without it every day has 24.
    missing : an event without start or end is an error, or dropped and counted.

    Raises
    ------
    SchemaError : no such column, or a time that can't be read; with its row.
    InputError : no event, a span that ends before it starts or has no start or end (with the rows).
    RefusedError : a column about persons.

    References: Ratcliffe & McCullagh 1998; Ratcliffe 2002.

    >>> import pandas as pd
    >>> night = pd.DataFrame({"time": ["2024-03-04 23:30"], "end": ["2024-03-05 01:30"]})
    >>> table = aoristic(night, by="hour").to_frame()
    >>> table[table["expected"] > 0].round(2)
        hour  expected   sd  certain
    0      0      0.50 0.50        0
    1      1      0.25 0.43        0
    23    23      0.25 0.43        0
    """
    first, last, rows, dropped = _spans(events, start, end, missing)
    bins, width, offset = _cycle(by)
    pieces = _pieces(first, last, rows, timezone)
    totals, squares, certain = np.zeros((1, bins)), np.zeros(bins), np.zeros(bins, dtype=np.int64)
    _kernel()(*pieces, offset, width, np.zeros(len(rows), dtype=np.int64), totals, squares, certain)
    hours = _lengths(pieces) / 3600
    longer = int((hours > bins * width / 3600).sum())
    caveats = (
        "The time is taken to be uniform over each span: what people notice late looks spread out, so peaks are "
        "flatter than they were.",
        "The standard deviation is that of not knowing the times, not of chance from one period to the next.",
    ) + (() if timezone else ("Every day counts 24 hours: no timezone was given.",))  # fmt: skip
    sd = np.sqrt(np.maximum(totals[0] - squares, 0.0))
    return Aoristic(totals[0], sd, certain, by, len(rows), dropped, float(np.median(hours)), longer, timezone, caveats)


def aoristic_weights(
    events: Events | pd.DataFrame,
    *,
    start: str = "time",
    end: str = "end",
    by: By = "week",
    timezone: str | None = None,
) -> FloatArray:
    """Return the (N, B) weights behind ``aoristic``; each row sums to 1.

    Raises
    ------
    InputError : too many events for one array (of at most 400 MB), besides what ``aoristic`` raises.

    >>> import pandas as pd
    >>> day = pd.DataFrame({"time": ["2024-03-04 08:00"], "end": ["2024-03-04 16:00"]})
    >>> float(aoristic_weights(day, by="hour")[0, 8])
    0.125
    """
    first, last, rows, _ = _spans(events, start, end, "refuse")
    bins, width, offset = _cycle(by)
    if len(rows) * bins > _MAX_WEIGHTS:
        raise InputError(
            f"events: got {len(rows):,}, expected at most {_MAX_WEIGHTS // bins:,} at a time; use aoristic"
        )
    totals = np.zeros((len(rows), bins))
    into = np.arange(len(rows))
    _kernel()(*_pieces(first, last, rows, timezone), offset, width, into, totals, np.zeros(bins), np.zeros(bins, int))
    return totals


def _cycle(by: str) -> tuple[int, int, int]:
    if by not in _CYCLES:
        raise InputError(f"by: got {by!r}, expected one of {', '.join(map(repr, _CYCLES))}")
    return _CYCLES[by]


def _spans(events: Any, start: str, end: str, missing: str) -> tuple[pd.Series, pd.Series, IntArray, int]:
    """Return the starts and ends that are known, their rows, and how many are not."""
    import pandas as pd

    frame = events.frame if isinstance(events, Events) else events
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"events: got {type(events).__name__}, expected Events or a table with {start!r} and {end!r}")
    refuse_person_columns(frame.columns, where="events")
    if missing not in ("refuse", "drop"):
        raise InputError(f"missing: got {missing!r}, expected 'refuse' or 'drop'")
    if lacking := [c for c in (start, end) if c not in frame.columns]:
        raise SchemaError(
            f"events: lack the column {', '.join(map(repr, lacking))}; expected the earliest and the latest time, "
            "e.g. aoristic(table, start='from', end='to')"
        )
    first, last = (_times(frame[column], column) for column in (start, end))
    known = (first.notna() & last.notna()).to_numpy()
    if not known.all() and missing == "refuse":
        raise InputError(f"events: {_rows(~known)} without {start!r} or {end!r}; expected both, or use missing='drop'")
    first, last, rows = first[known], last[known], np.flatnonzero(known)
    if len(rows) == 0:
        raise InputError(f"events: got {len(frame)}, none with a start and an end, expected at least one")
    backward = np.zeros(len(frame), dtype=bool)
    backward[rows] = (last < first).to_numpy()
    if backward.any():
        raise InputError(f"events: {_rows(backward)} where {end!r} lies before {start!r}; correct or drop them")
    return first, last, rows, int((~known).sum())


def _rows(wrong: Any) -> str:
    at = np.flatnonzero(wrong)
    return f"{len(at):,} rows ({', '.join(map(str, at[:5]))}{', …' if len(at) > 5 else ''}, counted from 0)"


def _times(column: pd.Series, name: str) -> pd.Series:
    import pandas as pd

    column = column.reset_index(drop=True)
    if pd.api.types.is_numeric_dtype(column):
        raise SchemaError(f"events, column {name!r}: got numbers, expected times such as 2024-03-04 23:30")
    try:
        return column if pd.api.types.is_datetime64_any_dtype(column) else pd.to_datetime(column, format="ISO8601")
    except (ValueError, TypeError) as error:
        why = str(error).split(". You might")[0]
        raise SchemaError(
            f"events, column {name!r}: got a time that can't be read ({why}), expected such as 2024-03-04 23:30; "
            "convert others with pandas.to_datetime first"
        ) from error


def _pieces(
    first: pd.Series, last: pd.Series, rows: IntArray, timezone: str | None
) -> tuple[IntArray, IntArray, IntArray]:
    """Return local starts and lengths of pieces, s, and where each event's pieces begin: one, or more over a change of
    the clocks."""
    import pandas as pd

    if timezone is None:
        if first.dt.tz is not None or last.dt.tz is not None:
            raise InputError("timezone: got times with a zone, expected timezone='Europe/London' or the like with them")
        begin, stop = _seconds(first), _seconds(last)
        return begin, stop - begin, np.arange(len(rows) + 1)
    begin, stop = _utc(first, timezone, earliest=True), _utc(last, timezone, earliest=False)
    hours = pd.date_range(
        pd.Timestamp(int(begin.min()) - 7200, unit="s").floor("h"), pd.Timestamp(int(stop.max()) + 7200, unit="s"),
        freq="h", tz="UTC",
    )  # fmt: skip
    offset = _seconds(hours.tz_convert(timezone).tz_localize(None).to_series()) - _seconds(
        hours.tz_localize(None).to_series()
    )
    change = np.flatnonzero(np.diff(offset)) + 1
    at, offsets = _seconds(hours.tz_localize(None).to_series())[change], np.concatenate([offset[:1], offset[change]])
    before, after = np.searchsorted(at, begin, side="right"), np.searchsorted(at, stop, side="left")
    number = np.maximum(after - before, 0) + 1
    begins = np.concatenate([[0], np.cumsum(number)])
    event = np.repeat(np.arange(len(rows)), number)
    era = before[event] + np.arange(len(event)) - begins[event]
    edges = np.concatenate([[np.iinfo(np.int64).min], at, [np.iinfo(np.int64).max]])
    low, high = np.maximum(begin[event], edges[era]), np.minimum(stop[event], edges[era + 1])
    return low + offsets[era], high - low, begins


def _seconds(times: pd.Series) -> IntArray:
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)


def _utc(times: pd.Series, timezone: str, *, earliest: bool) -> IntArray:
    """An hour that comes twice is taken so that the span is the longest, one that never was as the hour after."""
    import pandas as pd

    if times.dt.tz is None:
        summer = np.full(len(times), earliest)
        try:
            times = times.dt.tz_localize(timezone, ambiguous=summer, nonexistent="shift_forward")
        except (KeyError, ValueError) as error:
            raise InputError(
                f"timezone: got {timezone!r}, expected a name such as 'Europe/London' ({error})"
            ) from error
    return _seconds(pd.Series(times.dt.tz_convert("UTC").dt.tz_localize(None)))


def _lengths(pieces: tuple[IntArray, IntArray, IntArray]) -> FloatArray:
    return np.add.reduceat(pieces[1], pieces[2][:-1]).astype(float)


@cache
def _kernel() -> Callable[..., None]:
    import numba

    @numba.njit(cache=True, nogil=True)
    def spread(
        begin: Any, length: Any, begins: Any, offset: Any, width: Any, into: Any, totals: Any, squares: Any,
        certain: Any,
    ) -> None:  # fmt: skip
        bins = totals.shape[1]
        cycle = bins * width
        own = np.zeros(bins)
        for event in range(len(begins) - 1):
            own[:] = 0.0
            whole = 0
            for piece in range(begins[event], begins[event + 1]):
                whole += length[piece]
            for piece in range(begins[event], begins[event + 1]):
                place = (begin[piece] - offset) % cycle
                if whole == 0:
                    own[place // width] = 1.0
                    continue
                left = length[piece]
                if left >= cycle:
                    own += (left // cycle) * width / whole
                    left %= cycle
                while left > 0:
                    slot = place // width
                    step = min(left, (slot + 1) * width - place)
                    own[slot] += step / whole
                    left -= step
                    place = (place + step) % cycle
            for slot in range(bins):
                if own[slot] > 0:
                    totals[into[event], slot] += own[slot]
                    squares[slot] += own[slot] ** 2
                    certain[slot] += own[slot] > 1 - 1e-12

    return spread
