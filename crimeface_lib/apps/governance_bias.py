"""One differential over all bias reports on a model and data set, as figure and table."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from crimeface_lib.apps.governance_table import PagedTable
from crimeface_lib.apps.page import column, html, row, status
from crimeface_lib.core.errors import CrimefaceError
from crimeface_lib.reporting.bias_figures import MEASURE_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.apps.session import Session

_COLUMNS = ["at", "version", "value", "low", "high", "band_low", "band_high", "state"]
_CANNOT = (
    "Few reports show no trend. Groups that nobody reported on are not in it, and a rate from too few comparisons is "
    "withheld. The band is the one that was approved at the time of each report."
)


class BiasTrend:
    """The part; ``widget`` shows it. ``fill`` reads what can be chosen."""

    def __init__(self, session: Session, *, may: Any) -> None:
        self._session, self._may, self._quiet = session, may, False
        self.about = widgets.Dropdown(description="Method, data", options=[])
        self.attribute = widgets.Dropdown(description="By", options=[])
        self.measure = widgets.Dropdown(description="Measure", options=[(v, k) for k, v in MEASURE_NAMES.items()])
        self.measure.value = "garbe"
        self.figure, self.note = html(css="cf-figure"), html(css="cf-note")
        self.table = PagedTable("Bias reports", none="No report has this measure.", may=may)
        self._choices = row(self.about, self.attribute, self.measure)
        self.widget = column(self._choices, self.figure, self.note, self.table.widget)
        for part in (self.about, self.attribute, self.measure):
            part.observe(self._on_choice, "value")

    def fill(self, rows: pd.DataFrame | None, *, withheld: tuple[str, ...] = ()) -> None:
        """Offer what there are reports on.

        Parameters
        ----------
        rows : the last report of each method, as ``BiasRegister.summary`` gives them; None shows nothing.
        """
        import pandas as pd

        self._quiet = True
        empty = rows is None or rows.empty
        self._rows = pd.DataFrame() if rows is None else rows
        about = [] if empty else list(dict.fromkeys(zip(rows["model"], rows["dataset"], strict=True)))  # type: ignore[index]
        self.about.options = [(f"{model} on {data}", (model, data)) for model, data in about]
        if about:
            self.about.value = about[-1]
        self._offer_attributes()
        self._quiet = False
        unknown = f" Too few comparisons to say anything about {', '.join(withheld)}." if withheld else ""
        self.note.value = "" if empty else f"<p>{escape(_CANNOT + unknown)}</p>"
        self._choices.layout.display = "none" if empty else ""
        if empty:
            said = "" if rows is None else '<p class="cf-note">No bias report has been kept: crimeface bias add</p>'
            self.figure.value = said
            self.table.show(pd.DataFrame())
            self.table.widget.layout.display = "none"
        else:
            self.table.widget.layout.display = ""
            self._draw()

    def _offer_attributes(self) -> None:
        if not self.about.options:
            self.attribute.options = []
            return
        model, data = self.about.value
        own = self._rows[(self._rows["model"] == model) & (self._rows["dataset"] == data)]
        self.attribute.options = names = list(dict.fromkeys(own["attribute"]))
        self.attribute.value = names[0]

    def _on_choice(self, change: Any) -> None:
        if self._quiet:
            return
        if change["owner"] is self.about:
            self._quiet = True
            self._offer_attributes()
            self._quiet = False
        self._draw()

    def _draw(self) -> None:
        import pandas as pd

        from crimeface_lib.reporting import bias_trend_figure
        from crimeface_lib.reporting.style import figure_png

        store = self._session.store
        if store is None or not self._may() or self.about.value is None or self.attribute.value is None:
            self.figure.value = ""
            self.table.show(pd.DataFrame())
            return
        model, data = self.about.value
        about = {"attribute": self.attribute.value, "model": model, "dataset": data}
        try:
            rows = store.bias.trend(self.measure.value, **about).to_frame()
        except CrimefaceError as error:
            self.figure.value = f'<p class="cf-note">{escape(str(error))}</p>'
            self.table.show(pd.DataFrame())
            return
        self.figure.value = status("Drawing…", state="busy")
        named = rows[_COLUMNS].assign(version=rows["version"].str[:12]).iloc[::-1]
        named = named.rename(columns=lambda name: name.replace("_", " "))
        self.table.show(named.rename(columns={"at": "reported (UTC)"}))
        image = base64.b64encode(figure_png(bias_trend_figure(rows), dpi=150)).decode()
        words = (
            f"{MEASURE_NAMES[self.measure.value]} by {self.attribute.value}, {len(rows)} reports; the table has it too"
        )
        self.figure.value = (
            '<div class="cf-scroll" role="region" tabindex="0" aria-label="Figure">'
            f'<img alt="{escape(words)}" src="data:image/png;base64,{image}"></div>'
        )
