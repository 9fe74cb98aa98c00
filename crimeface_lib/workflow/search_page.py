"""The tables of a search's page: how it was searched, the candidates, and which of them can't be told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.recognition import CandidateList


@dataclass(frozen=True, slots=True, eq=False)
class SearchPage:
    """A candidate list and the model card of its embedder."""

    found: CandidateList
    card: Any

    def method_table(self) -> pd.DataFrame:
        """Return mode, threshold, FPIR for this list's size, index with recall, net with licence, a row each."""
        import pandas as pd

        found, licence = self.found, self.card.licence
        by_rank = found.threshold is None
        rows = {
            "mode": "investigative, by rank: always the best, however low" if by_rank
            else f"identification, by threshold: only scores of {found.threshold:.3f} or more, as approved",
            "entries searched": f"{found.gallery_size:,}; expired ones are not among them",
        }  # fmt: skip
        if found.fpir is None:
            rows["FPIR"] = "100 %: every search yields candidates, also for somebody who is not on the list"
        else:
            rate = found.fpir
            rows["FPIR"] = f"{rate.fpir:.1%} ({rate.low:.1%} – {rate.high:.1%}) of searches, at this size of the list"
            rows["counted from"] = f"{rate.false:,} of {rate.trials:,} {rate.unit}; {rate.method}"
        exact = found.index == "exact"
        rows |= {
            "index": "exact: every entry was compared" if exact else f"{found.index}, approximate",
            "recall": f"{found.recall:.1%} of the exact list" + ("" if exact else ": entries may have been missed"),
            "records that could not be read": f"{len(found.unreadable):,}",
            "net": f"{self.card.name} {self.card.version}, {found.version}",
            "licence": f"code {licence.code}, weights {licence.weights}"
            + (", for research only" if self.card.research_only else ""),
        }
        return pd.DataFrame({"what": list(rows), "value": list(rows.values())})

    def candidate_table(self) -> pd.DataFrame:
        """Return a row a candidate, best first: score, likelihood ratio with interval, quality of its photo."""
        import pandas as pd

        rows = [
            {"rank": one.rank, "candidate": one.subject, "score": one.score,
             "likelihood ratio (interval)": one.lr_words,
             "reference quality": "–" if one.quality is None or one.quality != one.quality else f"{one.quality:.0f}"}
            for one in self.found.candidates
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def tied_table(self) -> pd.DataFrame:
        """Return the candidates after the first whose interval reaches the first one's, and repeated subjects."""
        import pandas as pd

        listed = self.found.candidates
        rows = [
            {"rank": one.rank, "candidate": one.subject, "likelihood ratio (interval)": one.lr_words,
             "why": "another photo of the first" if one.subject == listed[0].subject
             else "the intervals overlap" if not one.at_limit else "both are held at the limit"}
            for one in listed[1:] if one.lr_high >= listed[0].lr_low or one.subject == listed[0].subject
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def findings(self, choice: str) -> tuple[str, ...]:
        """Return what the report says first. ``choice`` : which face of how many was searched."""
        found = self.found
        said = [
            f"{found.gallery_size:,} entries searched, {found.mode_words}; probe quality {found.probe_quality:.0f} of "
            f"100. {choice}"
        ]
        said += [
            f"First candidate: {one.subject}, likelihood ratio {one.lr_words}. A candidate, to be decided on by two "
            "people."
            for one in found.candidates[:1]
        ]
        if tied := len(self.tied_table()):
            said.append(f"{tied} more can't be told from the first by their intervals.")
        return tuple(said)
