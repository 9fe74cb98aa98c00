"""What every result can do: become a table, become JSON, show itself in a notebook."""

from __future__ import annotations

import dataclasses
import math
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.display import Shown, record_html, table_html

if TYPE_CHECKING:
    import pandas as pd


def to_plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: lists for arrays, None for NaN, ISO text for times.

    >>> import numpy
    >>> to_plain({"a": numpy.array([1.0, numpy.nan])})
    {'a': [1.0, None]}
    """
    if value is None or type(value) in (str, int, bool):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    import numpy as np  # here, so that a verifier of packages needs no numpy

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return (
            value.to_dict()
            if isinstance(value, Result)
            else to_plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
        )
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(v) for v in value]
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a pandas frame
        return [to_plain(row) for row in value.to_dict(orient="records")]
    return value


class Result(Shown):
    """Base of the frozen result dataclasses. Subclasses override ``to_frame`` with their natural rows."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return every field as JSON can hold it."""
        return {f.name: to_plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.repr}  # type: ignore[arg-type]

    def to_frame(self) -> pd.DataFrame:
        """Return the scalar fields as one row."""
        import pandas as pd

        row = {k: v for k, v in self.to_dict().items() if not isinstance(v, list | dict)}
        return pd.DataFrame([row])

    def _repr_html_(self) -> str:
        return record_html(self) if type(self).to_frame is Result.to_frame else table_html(self.to_frame())
