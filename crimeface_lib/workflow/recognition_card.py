"""The model card that an evaluation leaves: what the model is, how it did here, under which protocol, on how many.

The YAML file is a ``governance.ModelCard``, so ``crimeface models add`` takes it; the Markdown file says the same for
people, with the figures as a table. Figures from synthetic templates stand in neither as the model's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from crimeface_lib.core.files import write_atomic
from crimeface_lib.governance import ModelCard
from crimeface_lib.governance.modelcard import Figure
from crimeface_lib.workflow.bias_study import rate_table

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.recognition_study import RecognitionStudy
    from crimeface_lib.workflow.run import Run


@dataclass(frozen=True, slots=True)
class EvaluationCard:
    """A model card with the figures of one run; made by ``card_of``."""

    card: ModelCard
    markdown: str = field(repr=False)

    def export(self, path: str | Path) -> list[Path]:
        """Write ``path`` with ``.yaml`` and with ``.md``; return both."""
        files = {".yaml": yaml.safe_dump(self.card.to_dict(), sort_keys=False, allow_unicode=True, width=110)}
        files[".md"] = self.markdown
        written = [Path(path).with_suffix(suffix) for suffix in files]
        for file, text in zip(written, files.values(), strict=True):
            write_atomic(file, text.encode())
        return written

    def _repr_html_(self) -> str:
        return self.card.to_html()


def card_of(study: RecognitionStudy, run: Run) -> EvaluationCard:
    """Return the model's card with what this run found: figures, protocol, n, intervals, limits.

    Raises
    ------
    RefusedError : the model has no card to begin with.
    """
    base = run.store.models.require(f"embedders:{study.model}")
    commit = str(run.record["code"].get("commit", "") or "")[:12] or "unknown"
    by = f"run {run.id}, {run.started:%Y-%m-%d}, code {commit}"
    table = study.to_frame()
    protocol = f"{study.dataset}: {study.evaluation.subjects:,} people; {study.protocol}; people resampled"
    figures = () if study.synthetic else tuple(
        Figure(figure=f"{row[0]}: {row[1]}", protocol=f"{row[2]}; {protocol}", by=by)
        for row in table.itertuples(index=False)
    )  # fmt: skip
    sheets = [study.dataset] if study.dataset in run.store.models.datasheets else []
    card = base.model_copy(
        update={
            "name": f"{base.name}.{run.id}"[:80],
            "runs": figures,
            "datasheets": tuple(dict.fromkeys([*base.datasheets, *sheets])),
            "caveats": (*base.caveats, *(f"This run can't say: {line}" for line in study.cannot_say())),
        }
    )
    return EvaluationCard(card, _markdown(study, card, table, by=by, protocol=protocol))


def _markdown(study: RecognitionStudy, card: ModelCard, table: pd.DataFrame, *, by: str, protocol: str) -> str:
    used, fit = study.calibration, "None: there is no calibration for this model."
    if used is not None:
        low, high = (10**end for end in used.bounds)
        fit = (
            f"Fitted to {used.dataset or 'photos that nobody named'} ({used.pairs[0]:,} comparisons of one person, "
            f"{used.pairs[1]:,} of different people, of {used.subjects:,} people), held within {low:.2g} – {high:.2g}."
        )
    parts = [
        f"# {card.name}",
        f"{card.kind}, version {card.version}, backend `{card.backend}`. {card.source}",
        *(["**Synthetic templates: none of these figures is one of the model.**"] if study.synthetic else []),
        f"## Figures\n\n{by}. {protocol}.\n\n{_rows(table)}",
        f"## Likelihood ratios\n\n{fit}",
    ]
    if study.transferred is not None:
        parts.append(f"## Thresholds set on other people\n\n{_rows(study.transferred)}")
    if study.audit is not None:
        parts.append(f"## By group, at the threshold {study.threshold:.4g}\n\n{_rows(rate_table(study.audit))}")
    if study.protection is not None:
        parts.append(f"## Template protection\n\n{study.protection.sentence}")
    licences = f"Code: {card.licence.code}. Weights: {card.licence.weights}."
    parts += [
        f"## Intended use\n\n{card.intended_use}",
        f"## Out of scope\n\n{_list(card.out_of_scope)}",
        f"## Training data\n\n{card.training_data}",
        f"## Fairness\n\n{_list(map(str, card.fairness))}",
        f"## Limits\n\n{_list(card.caveats)}",
        f"## Licence\n\n{licences}",
    ]
    return "\n\n".join(parts) + "\n"


def _list(lines: object) -> str:
    return "\n".join(f"- {line}" for line in lines)  # type: ignore[attr-defined]


def _rows(table: pd.DataFrame) -> str:
    """Return a frame as a Markdown table."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[*map(str, table.columns)], ["---"] * table.shape[1], *cells])
