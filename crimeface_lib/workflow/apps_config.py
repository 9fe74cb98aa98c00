"""What the apps show and where they look, from ``configs/apps.yaml``: one frozen object, as for the notebooks."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator

from crimeface_lib.core.errors import ConfigError, InputError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.core.yamltext import read_yaml
from crimeface_lib.workflow._config_base import Section


class CrimeMapSection(Section):
    cell: float = Field(250.0, gt=0, description="side of a cell, metres")
    bandwidth: float = Field(300.0, gt=0, description="standard deviation of the density's kernel, metres")
    boundaries: Path | None = Field(None, description="polygons drawn on the map")
    boundary_name: str | None = Field(None, description="the column that names them")
    tiles: str | None = Field(None, description="template of map tiles, https://…/{z}/{x}/{y}.png; none: offline")
    tiles_attribution: str | None = Field(None, description="what the provider of the tiles wants said")
    purpose: str = Field("research", description="of a forecast, as its approved DPIA names it")
    dataset: str = Field("police.uk-street", description="what the events are, as the DPIA names it")
    model: str = "decayed_counts"
    horizon: str = "1M"

    @field_validator("tiles")
    @classmethod
    def _tiles_are_a_template(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        whole = all(part in value for part in ("{z}", "{x}", "{y}"))
        if parts.scheme not in ("https", "http") or not parts.hostname or not whole:
            raise ValueError("expected an address such as https://tiles.example.org/{z}/{x}/{y}.png")
        if set(parts.netloc) & set("{}@;,'\" \t"):
            raise ValueError("expected one host, without a login or a placeholder in its name")
        return value

    @model_validator(mode="after")
    def _whoever_made_the_tiles_is_named(self) -> CrimeMapSection:
        if self.tiles and not self.tiles_attribution:
            raise ValueError("tiles: got an address alone, expected tiles_attribution beside it: who made the map")
        return self

    @property
    def tiles_origin(self) -> str | None:
        """Scheme and host of the tiles: the one place outside that the map's page may ask."""
        if self.tiles is None:
            return None
        parts = urlsplit(self.tiles)
        return f"{parts.scheme}://{parts.netloc}"


class AppsConfig(Section):
    """Settings of all apps."""

    store: Path | None = Field(None, description="folder of accounts, approvals and logs; .crimeface/store where empty")
    crime_map: CrimeMapSection = CrimeMapSection()


def load_apps_config(settings: Settings | None = None) -> AppsConfig:
    """Return what ``configs/apps.yaml`` of this checkout says; the defaults where there is no such file.

    Raises
    ------
    ConfigError : not YAML, an unknown or ill-typed key; each is named with what was expected.
    """
    path = (settings or load_settings()).project_root / "configs" / "apps.yaml"
    if not path.exists():
        return AppsConfig()
    try:
        return AppsConfig.model_validate(read_yaml(path.read_text(encoding="utf-8")) or {})
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"configs/apps.yaml: {said}") from error
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise ConfigError(f"configs/apps.yaml: {error}") from error
