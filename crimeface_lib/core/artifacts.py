"""Where a model or data file is found: data root → package → cache → an error that says what to do.

Nothing is downloaded unasked: ``find`` looks, ``fetch`` (behind ``crimeface fetch``) downloads.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from crimeface_lib.core.errors import IntegrityError, MissingArtifactError
from crimeface_lib.core.hashing import sha256_file
from crimeface_lib.core.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the code needs and does not carry.

    Parameters
    ----------
    path : below the data root and below the cache, e.g. ``ict/ict_facekit.npz``.
    package, package_path : the installed package that carries it, and where inside.
    sha256 : expected digest; checked when given.
    licence : of the file itself, shown in each report that used it.
    remedy : the command or step that brings it.
    """

    name: str
    path: str
    licence: str
    remedy: str
    package: str | None = None
    package_path: str | None = None
    sha256: str | None = None


def package_folder(package: str) -> Path | None:
    """Return the folder of an installed package without importing it, or None."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def locate(artifact: Artifact, *, settings: Settings | None = None) -> Path | None:
    """Return where ``artifact`` lies on this machine, or None when it is nowhere."""
    settings = settings or load_settings()
    folder = package_folder(artifact.package) if artifact.package else None
    places = [
        settings.data_root / artifact.path if settings.data_root else None,
        folder / (artifact.package_path or artifact.path) if folder else None,
        settings.cache_dir / artifact.path,
    ]
    return next((place for place in places if place and place.is_file()), None)


def find(artifact: Artifact, *, settings: Settings | None = None) -> Path:
    """Return the path of ``artifact``, its digest checked where one is known.

    Raises
    ------
    MissingArtifactError : it is nowhere; the message names the places looked at and the remedy.
    IntegrityError : the file found is not the one we know.
    """
    settings = settings or load_settings()
    path = locate(artifact, settings=settings)
    if path is None:
        looked = ", ".join(
            text
            for text in (
                f"data root {settings.data_root}" if settings.data_root else "no data root (CRIMEFACE_DATA_ROOT)",
                f"package {artifact.package}" if artifact.package else "",
                f"cache {settings.cache_dir}",
            )
            if text
        )
        raise MissingArtifactError(
            f"{artifact.name} not found ({artifact.path}); looked in {looked}; {artifact.remedy}"
        )
    if artifact.sha256 and (digest := sha256_file(path)) != artifact.sha256:
        raise IntegrityError(
            f"{artifact.name}: got SHA-256 {digest[:16]}…, expected {artifact.sha256[:16]}…; "
            f"delete {path} and {artifact.remedy}"
        )
    return path


def download(url: str, *, path: str, sha256: str, settings: Settings | None = None, progress: bool = True) -> Path:
    """Download one file into the cache, with progress, its digest checked before it gets its name.

    Raises
    ------
    MissingArtifactError : no network, or the server refuses.
    IntegrityError : what came is not what was expected.
    """
    import pooch
    import requests

    settings = settings or load_settings()
    target = settings.cache_dir / path
    try:
        got = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=target.name, path=target.parent, progressbar=progress
        )
    except ValueError as error:  # pooch's word for a digest that differs
        raise IntegrityError(f"{url}: {error}") from error
    except (requests.RequestException, OSError) as error:
        raise MissingArtifactError(
            f"could not download {url}: {error}; on a machine without network copy the file to {target}"
        ) from error
    return Path(got)
