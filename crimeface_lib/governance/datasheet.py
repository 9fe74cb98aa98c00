"""Datasheets: where data come from, who is in them, what was agreed, and what they must not be used for.

The questions are those of Gebru et al., "Datasheets for Datasets" (2021), in one sentence or two each. The sheets of
what crimeface trains, calibrates and measures on, and of what its models were trained on, lie in
``governance/datasheets``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.governance.dpia import Identifier, Text
from crimeface_lib.governance.show import labelled, record_html


class Datasheet(BaseModel):
    """What is known of a dataset; "not documented" where nobody has said.

    Parameters
    ----------
    licence : terms under which the data may be used. consent : what the people in it were told and agreed to.
    composition : what and whom it holds, how many, which groups. unsuitable : uses it must not be put to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Identifier
    title: Text
    source: Text
    licence: Text
    motivation: Text
    composition: Text
    collection: Text
    consent: Text
    uses: Text
    unsuitable: Annotated[tuple[Text, ...], Field(min_length=1)]
    maintenance: Text

    @classmethod
    def from_yaml(cls, text: str) -> Datasheet:
        """Return the datasheet written in ``text``.

        Raises
        ------
        InputError : not YAML, or a field is missing, unknown or empty.
        """
        try:
            return cls.model_validate(read_yaml(text))
        except (ValidationError, InputError) as error:
            raise InputError(f"not a datasheet: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the sheet as JSON can hold it."""
        return self.model_dump(mode="json")

    def to_html(self) -> str:
        """Return the sheet as a table."""
        rows = {name: value for name, value in self if name not in ("name", "title")}
        return record_html(self.title, {"Datasheet": labelled(rows)})

    def _repr_html_(self) -> str:
        return self.to_html()


@cache
def bundled_datasheets() -> tuple[Datasheet, ...]:
    """Return the sheets that come with crimeface, by name.

    >>> "lfw" in [sheet.name for sheet in bundled_datasheets()]
    True
    """
    folder = files("crimeface_lib.governance") / "datasheets"
    texts = [entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    return tuple(sorted((Datasheet.from_yaml(text) for text in texts), key=lambda sheet: sheet.name))
