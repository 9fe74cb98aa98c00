"""Bias reports over time: kept for good, compared with the band that a DPIA approved, alerted on when outside.

Reports are only ever added. Each one's hash is in the audit log, so that one that was altered or dropped is found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from crimeface_lib.core.clock import Clock, from_iso, to_iso
from crimeface_lib.core.display import table_html
from crimeface_lib.core.errors import InputError, IntegrityError, NotFoundError
from crimeface_lib.core.hashing import content_hash
from crimeface_lib.core.results import Result
from crimeface_lib.governance.audit import AuditLog, check_id
from crimeface_lib.governance.bias import AND, BiasReport
from crimeface_lib.governance.dpia import ModelRef
from crimeface_lib.governance.register import DpiaRegister
from crimeface_lib.metrics import MEASURES
from crimeface_lib.storage.documents import DocumentStore

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "bias_reports"
_ABOUT = ("model", "version", "dataset")
_COLUMNS = ["report", "at", *_ABOUT, "attribute", "measure", "value", "low", "high", "band_low", "band_high", "state"]


@dataclass(frozen=True, slots=True)
class DifferentialAlert(Result):
    """A measure outside its approved band.

    Parameters
    ----------
    report : number of the bias report. low, high : interval of ``value``.
    band : lowest and highest value that the DPIA approved.
    clear : the whole interval is outside too; otherwise chance could have done it.
    """

    report: int
    attribute: str
    measure: str
    value: float
    low: float
    high: float
    band: tuple[float, float]

    @property
    def clear(self) -> bool:
        """Whether the whole interval is outside the band."""
        return self.low > self.band[1] or self.high < self.band[0]

    def in_words(self) -> str:
        """Return the alert as one line; it names groups of people by attribute only.

        >>> DifferentialAlert(3, "sex", "garbe", 0.41, 0.3, 0.5, (0.0, 0.2)).in_words()
        'report 3: garbe by sex is 0.41 (0.3 to 0.5), approved 0 to 0.2'
        """
        found = f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"
        chance = "" if self.clear else "; its interval reaches into the band"
        return (
            f"report {self.report}: {self.measure} by {self.attribute} is {found}, "
            f"approved {self.band[0]:g} to {self.band[1]:g}{chance}"
        )


@dataclass(frozen=True, slots=True)
class StoredBiasReport(Result):
    """A bias report as it was kept: what of, on which data, under which DPIA, with the alerts it gave."""

    id: int
    at: datetime
    actor: str
    model: str
    version: str
    dataset: str
    protocol: str
    dpia: int | None
    bands: dict[str, tuple[float, float]]
    report: BiasReport
    content_hash: str

    @property
    def alerts(self) -> tuple[DifferentialAlert, ...]:
        """Measures known to be outside their band, attribute by attribute."""
        rows = self.report.measures().itertuples(index=False, name=None)
        return tuple(
            DifferentialAlert(self.id, attribute, measure, value, low, high, band)
            for attribute, measure, value, low, high in rows
            if (band := self.bands.get(measure)) and (value < band[0] or value > band[1])
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a row an attribute and measure: value, interval, band, state."""
        frame = self.report.measures()
        bands = [self.bands.get(measure, (float("nan"), float("nan"))) for measure in frame["measure"]]
        outside = {(alert.attribute, alert.measure) for alert in self.alerts}
        keys = zip(frame["attribute"], frame["measure"], strict=True)
        states = ["outside" if key in outside else "within" if key[1] in self.bands else "no band" for key in keys]
        states = ["unknown" if value != value else state for value, state in zip(frame["value"], states, strict=True)]
        about = {
            "report": self.id,
            "at": self.at,
            "model": self.model,
            "version": self.version,
            "dataset": self.dataset,
        }
        ends = {"band_low": [low for low, _ in bands], "band_high": [high for _, high in bands]}
        return frame.assign(**about, **ends, state=states)[_COLUMNS]


@dataclass(frozen=True, slots=True)
class BiasTable(Result):
    """Measures of several reports: the last of each method (``summary``), or one measure over time (``trend``).

    ``withheld`` are the groups of these reports about which nothing is known, as "attribute: group".
    """

    rows: pd.DataFrame
    withheld: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a row a report, attribute and measure."""
        return self.rows.copy()

    def _repr_html_(self) -> str:
        unknown = f"<p>Too few to say anything about {escape(', '.join(self.withheld))}.</p>" if self.withheld else ""
        return table_html(self.rows, float_format="{:.3g}".format) + unknown


class BiasRegister:
    """Bias reports in a document store; use ``BiasRegister.open``."""

    def __init__(self, store: DocumentStore, *, audit: AuditLog, clock: Clock, dpias: DpiaRegister) -> None:
        self._store, self._audit, self._clock, self._dpias = store, audit, clock, dpias

    @classmethod
    def open(cls, store: DocumentStore, *, audit: AuditLog, clock: Clock, dpias: DpiaRegister) -> BiasRegister:
        """Return the register kept in ``store``."""
        return cls(store, audit=audit, clock=clock, dpias=dpias)

    def add(
        self,
        report: BiasReport,
        *,
        model: str,
        version: str,
        dataset: str,
        protocol: str,
        actor: str,
        dpia: int | None = None,
    ) -> StoredBiasReport:
        """Keep a report, log its hash, and return it with its alerts.

        Parameters
        ----------
        model, version, dataset : ids, as a DPIA's scope names them. protocol : how it was measured, in words.
        dpia : number of the approved DPIA whose band the report is held against. Without one there is no band, and
            each measure is shown as such.

        Raises
        ------
        InputError : the DPIA does not cover this model, or no protocol. NotApprovedError : it is not approved now.
        """
        about = {"model": check_id(model), "version": check_id(version), "dataset": check_id(dataset)}
        if not protocol.strip():
            raise InputError("protocol: got nothing, expected how the comparisons were made, in words")
        bands = {} if dpia is None else self._bands(dpia, model, version)
        at = self._clock()
        record = {
            "at": to_iso(at), "actor": check_id(actor), **about, "protocol": protocol.strip(), "dpia": dpia,
            "bands": {name: list(band) for name, band in bands.items()}, "report": report.to_dict(),
        }  # fmt: skip
        digest = content_hash(record)
        with self._store.transaction():
            id = self._store.insert(_TABLE, record)
            stored = _stored({**record, "id": id}, digest)
            facts = {**about, "dpia": dpia, "alerts": len(stored.alerts)}
            self._audit.record("bias.reported", actor=actor, at=at, report=id, content_hash=digest, **facts)
            for alert in stored.alerts:
                self._audit.record(
                    "bias.alert", actor=actor, at=at, report=id, attribute=_as_id(alert.attribute),
                    measure=alert.measure, value=_finite(alert.value), low=_finite(alert.low),
                    high=_finite(alert.high), clear=alert.clear,
                )  # fmt: skip
        return stored

    def get(self, report: int) -> StoredBiasReport:
        """Return one report.

        Raises
        ------
        NotFoundError : no such report. IntegrityError : as for ``list``.
        """
        for stored in self.list():
            if stored.id == report:
                return stored
        raise NotFoundError(f"no bias report {report}; summary() shows what there is")

    def list(self) -> tuple[StoredBiasReport, ...]:
        """Return all reports, oldest first.

        Raises
        ------
        IntegrityError : a report is not what the audit log says was kept, or is gone.
        """
        logged = {e.facts["report"]: e.facts["content_hash"] for e in self._audit.events("bias.reported")}
        found = []
        for record in self._store.find(_TABLE):
            digest = content_hash({key: value for key, value in record.items() if key != "id"})
            if logged.pop(record["id"], None) != digest:
                raise IntegrityError(f"bias report {record['id']} is not what was kept; restore the store")
            found.append(_stored(record, digest))
        if logged:
            raise IntegrityError(f"bias report {min(logged)} is in the audit log and gone from the store; restore it")
        return tuple(found)

    def summary(self) -> BiasTable:
        """Return the last report of each model, version and dataset, measure by measure against its band."""
        return _table(list({(r.model, r.version, r.dataset): r for r in self.list()}.values()))

    def trend(self, measure: str, *, attribute: str, model: str, dataset: str | None = None) -> BiasTable:
        """Return one measure over all reports on a model, oldest first, versions of the model together.

        Raises
        ------
        InputError : no such measure. NotFoundError : no report has it.
        """
        if measure not in MEASURES:
            raise InputError(f"measure: got {measure!r}, expected one of {', '.join(MEASURES)}")
        reports = [r for r in self.list() if r.model == model and dataset in (None, r.dataset)]
        table = _table(reports)
        rows = table.rows[(table.rows["measure"] == measure) & (table.rows["attribute"] == attribute)]
        if rows.empty:
            have = sorted({f"{r.model} by {a}" for r in self.list() for a in r.report.differentials})
            raise NotFoundError(f"no report on {model} by {attribute}; there are: {', '.join(have) or 'none'}")
        return BiasTable(rows.reset_index(drop=True), table.withheld)

    def _bands(self, dpia: int, model: str, version: str) -> dict[str, tuple[float, float]]:
        content = self._dpias.approval(dpia).content
        if ModelRef(name=model, version=version) not in content.scope.models:
            raise InputError(f"DPIA {dpia} does not cover {model} {version}, so its band says nothing about it")
        return content.faces.bands if content.faces else {}


def _stored(record: Mapping[str, Any], digest: str) -> StoredBiasReport:
    bands = {name: (low, high) for name, (low, high) in record["bands"].items()}
    changed = {"at": from_iso(record["at"]), "bands": bands, "report": BiasReport.from_dict(record["report"])}
    return StoredBiasReport(**{**record, **changed}, content_hash=digest)


def _table(reports: list[StoredBiasReport]) -> BiasTable:
    import pandas as pd

    unknown = {f"{name}: {group}": None for r in reports for name, gs in r.report.withheld.items() for group in gs}
    columns = [
        "attribute",
        "measure",
        "value",
        "low",
        "high",
        "band_low",
        "band_high",
        "state",
        "report",
        "at",
        *_ABOUT,
    ]
    frames = [r.to_frame() for r in reports]
    return BiasTable(pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns), tuple(unknown))


def _as_id(attribute: str) -> str:
    """Return an attribute as the audit log holds it: "sex & age group" → "sex+age_group"."""
    return re.sub(r"[^A-Za-z0-9+]+", "_", attribute.replace(AND, "+"))


def _finite(value: float) -> float | str:
    return value if abs(value) != float("inf") else "infinite"
