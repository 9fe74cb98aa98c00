"""What every config is made of: frozen sections, and what each run has whatever its notebook does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """Part of a config: frozen, and nothing unknown is let in."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RunConfig(Section):
    """What every run has, whatever its notebook does."""

    notebook: str
    title: str
    question: str = Field(description="what was asked, in words a reviewer reads first")
    purpose: str = Field("research", description="why; compared with the purposes an approved DPIA allows")
    actor: str = Field("", description="who runs it; the login name where empty")
    case: str | None = Field(None, description="case reference; an opaque id, never a person's name")
    store: Path | None = Field(
        None, description="evidence, watchlists, approvals and keys; .crimeface/store by default"
    )
    run: Path | None = Field(None, description="folder of the run this notebook belongs to; a new one where empty")
    seed: int = Field(0, ge=0)
    device: str = "auto"
    method_validation: str | None = Field(None, description="validation id; without one: not validated for casework")

    def without(self) -> tuple[str, ...]:
        """Return the tags of the notebook's cells that this config leaves out."""
        return ()

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: Any, info: Any) -> Any:
        optional = cls.model_fields[info.field_name].default is None
        return None if optional and isinstance(value, str) and value.strip().lower() in {"", "none", "null"} else value
