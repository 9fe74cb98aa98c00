"""Settings of this machine: ``CRIMEFACE_*`` variables or ``.env``. Nothing about a case belongs here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _checkout() -> Path:
    """Return the checkout that holds this package, or the working directory of an installed wheel."""
    beside = Path(__file__).resolve().parents[2]
    return beside if (beside / "notebooks").is_dir() else Path.cwd()


class Settings(BaseSettings):
    """Where things are on this machine.

    Every field is read from ``CRIMEFACE_<FIELD>`` in the environment or in ``.env``.
    """

    model_config = SettingsConfigDict(
        env_prefix="CRIMEFACE_", env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    project_root: Path = Field(default_factory=_checkout, description="folder with notebooks/ and configs/")
    data_root: Path | None = Field(default=None, description="folder with real data and models, read only")
    cache_dir: Path = Field(default_factory=lambda: user_cache_path("crimeface"), description="downloaded models")
    reports_dir: Path | None = Field(default=None, description="where runs write; <project_root>/reports by default")
    home: Path | None = Field(default=None, description="stores and keys; <project_root>/.crimeface by default")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:<index>")
    passphrase: SecretStr | None = Field(default=None, description="opens the key file, where it has one")
    master_key: SecretStr | None = Field(default=None, description="opens the key file instead: 32 bytes in base64")
    key_command: str | None = Field(default=None, description="opens it instead: a program that asks an HSM or KMS")
    documents: SecretStr | None = Field(default=None, description="database for records; JSON files by default")
    chromium: Path | None = Field(default=None, description="browser for PDF; found on PATH by default")
    smtp_host: str | None = Field(default=None, description="mail server for notices; no mail without one")
    smtp_port: int | None = Field(default=None, ge=1, le=65535, description="587, 465 or 25 by default")
    smtp_security: Literal["starttls", "ssl", "none"] = Field(default="starttls", description="of the connection")
    smtp_ca: Path | None = Field(default=None, description="certificates to trust; the system's by default")
    smtp_user: str | None = Field(default=None, description="login at the mail server, where it asks for one")
    smtp_password: SecretStr | None = Field(default=None, description="its password")
    smtp_sender: str = Field(default="", description="address that notices come from")
    smtp_recipients: str = Field(default="", description="addresses that notices go to, by commas")
    smtp_timeout: float = Field(default=10.0, gt=0, description="seconds to wait for the mail server")

    @property
    def reports(self) -> Path:
        return self.reports_dir or self.project_root / "reports"

    @property
    def stores(self) -> Path:
        return self.home or self.project_root / ".crimeface"

    @property
    def default_store(self) -> Path:
        return self.stores / "store"


def load_settings() -> Settings:
    """Read the settings now; nothing is remembered between calls."""
    return Settings()
