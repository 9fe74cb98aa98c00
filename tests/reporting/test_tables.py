from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, SchemaError
from crimeface_lib.reporting import format_count, format_lr, format_mm, format_percent, html_table

_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def _read(text: str) -> float:
    mantissa, _, power = text.partition(" × 10")
    return float(mantissa) * 10.0 ** int(power.translate(_DIGITS) or 0)


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_likelihood_ratio_keeps_two_digits(value):
    assert math.isclose(_read(format_lr(value)), value, rel_tol=0.051)


def test_likelihood_ratio_is_finite_and_not_negative():
    assert format_lr(0) == "0"
    for bad in (math.inf, math.nan, -1.0):
        with pytest.raises(InputError, match="expected a finite number"):
            format_lr(bad)


def test_missing_values_are_dashes_and_minus_is_a_minus():
    assert [f(math.nan) for f in (format_count, format_percent, format_mm)] == ["–"] * 3
    assert format_count(-1200) == "−1,200"


def test_table_aligns_numbers_and_escapes_text():
    frame = pd.DataFrame(
        {
            "name": ["<a>", "b"],
            "n": [1200, 3],
            "sd": [0.25, np.nan],
            "lr": [format_lr(2e4), "–"],
            "day": ["2026-01-02"] * 2,
        }
    )
    html = html_table(frame, caption="C & D", note="n < 5 is hidden")
    assert html.count('class="num"') == 3 * 3
    assert "&lt;a&gt;" in html
    assert "<caption>C &amp; D</caption>" in html
    assert "1,200" in html
    with pytest.raises(SchemaError):
        html_table(pd.DataFrame())
