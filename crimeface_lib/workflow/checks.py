"""Cheap questions asked before any notebook starts: can the input be read, does policy allow the use?

The notebooks ask again, and theirs are the answers that count; these spare the user a minute's wait for a no. Input
comes first: a photo that is none is bad input, whatever a policy would say to it.
"""

from __future__ import annotations

import os
from pathlib import Path

from crimeface_lib.core.errors import InputError
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.metrics import read_surface
from crimeface_lib.workflow._crime_config import CrimeDataConfig, CrimeForecastConfig, CrimePlacesConfig
from crimeface_lib.workflow._hotspot_config import CrimeHotspotsConfig
from crimeface_lib.workflow.config import (
    CrimeOverviewConfig,
    EvaluateRecognitionConfig,
    EvaluateReconstructionConfig,
    RecogniseConfig,
    ReconstructConfig,
    ReconstructManyConfig,
    RunConfig,
    VerifyPairConfig,
)
from crimeface_lib.workflow.gated import SERIES_MODEL
from crimeface_lib.workflow.identity import TOKEN, identify
from crimeface_lib.workflow.origin import login_name
from crimeface_lib.workflow.store import CaseStore


def check_inputs(steps: tuple[RunConfig, ...]) -> None:
    """Open each photo and find its face; read the header and the first rows of each crime file.

    Raises
    ------
    InputError and its kin : the message begins with the parameter that is wrong.
    """
    seen: set[Path] = set()
    for cfg in steps:
        if isinstance(cfg, ReconstructConfig) and cfg.photo not in seen:
            _check_photo(cfg.photo, which=cfg.face, name="photo")
            seen.add(cfg.photo)
            if cfg.scan is not None:
                read_surface(cfg.scan, unit=cfg.scan_unit)
        elif isinstance(cfg, RecogniseConfig) and cfg.probe not in seen:
            _check_photo(cfg.probe, which=cfg.face, name="probe")
            seen.add(cfg.probe)
        elif isinstance(cfg, VerifyPairConfig):
            _check_photo(cfg.photo_a, which=cfg.face_a, name="photo_a", detector=cfg.embed.detector)
            _check_photo(cfg.photo_b, which=cfg.face_b, name="photo_b", detector=cfg.embed.detector)
        elif isinstance(cfg, CrimeDataConfig):
            from crimeface_lib.workflow.crime_pages import check_crime_data

            check_crime_data(cfg)
        elif isinstance(cfg, EvaluateRecognitionConfig) and cfg.photos is not None:
            _check_photos(cfg.photos, least=2)
        elif isinstance(cfg, ReconstructManyConfig | EvaluateReconstructionConfig):
            _check_photos(cfg.photos, least=2 if isinstance(cfg, ReconstructManyConfig) else 1)


def _check_photos(folder: Path, *, least: int) -> None:
    from crimeface_lib.faces import list_photos

    photos = list_photos(folder)
    if len(photos) < least:
        raise InputError(f"photos: got {len(photos)} below {folder}, expected at least {least} of one person")


def sign_in(cfg: RunConfig, *, settings: Settings | None = None) -> None:
    """Show that whoever runs this may act as ``cfg.actor``, and hand that on to the kernels to be started.

    They inherit ``CRIMEFACE_TOKEN`` from this process: a token for the account, good for this run.

    Raises
    ------
    RefusedError : the account is another's and there is neither password nor token.
    """
    if cfg.actor in ("", login_name(os.environ)):
        return
    store = CaseStore.of(cfg, settings=settings or load_settings())
    os.environ[TOKEN] = store.people.issue_token(identify(store, cfg.actor, environ=os.environ))


def check_policy(steps: tuple[RunConfig, ...], *, settings: Settings | None = None) -> None:
    """Ask the gate for each gated use that the steps are going to make.

    Raises
    ------
    RefusedError : a model without a card, or no approved DPIA covers the use. NotFoundError : no such watchlist.
    """
    settings = settings or load_settings()
    for cfg in steps:
        CaseStore.of(cfg, settings=settings).require_cards(cfg)
        if isinstance(cfg, VerifyPairConfig):
            from crimeface_lib.recognition import load_calibration, load_embedder

            embedder = load_embedder(cfg.embed.embedder, device="cpu")
            CaseStore.of(cfg, settings=settings).permit(
                "face_search", cfg, dataset=cfg.dataset, model=embedder.name, version=embedder.version
            )
            load_calibration(cfg.calibration or embedder.name)
        elif isinstance(cfg, EvaluateRecognitionConfig) and cfg.photos is not None:
            from crimeface_lib.recognition import load_embedder

            embedder = load_embedder(cfg.embed.embedder, device="cpu")
            CaseStore.of(cfg, settings=settings).permit(
                "face_search", cfg, dataset=cfg.dataset, model=embedder.name, version=embedder.version
            )
        elif isinstance(cfg, RecogniseConfig):
            from crimeface_lib.recognition import load_calibration, load_embedder

            store = CaseStore.of(cfg, settings=settings)
            embedder = load_embedder(cfg.embed.embedder, device="cpu")
            store.permit("face_search", cfg, dataset=cfg.watchlist, model=embedder.name, version=embedder.version)
            load_calibration(cfg.calibration or embedder.name)
            store.open_watchlist(cfg.watchlist)
            for reviewer in cfg.reviewers:
                store.people.require(store.people.get(reviewer), "decide_candidates")
        elif isinstance(cfg, CrimeForecastConfig | CrimeOverviewConfig | CrimePlacesConfig) and cfg.predict:
            from crimeface_lib.crime import MODEL_VERSION

            store = CaseStore.of(cfg, settings=settings)
            if isinstance(cfg, CrimeForecastConfig):
                model, version = SERIES_MODEL
            else:
                model, version = cfg.predict_places.model, MODEL_VERSION
            store.permit("place_prediction", cfg, dataset=cfg.dataset, model=model, version=version)
        elif isinstance(cfg, CrimeHotspotsConfig) and cfg.series is not None:
            from crimeface_lib.crime import PROFILE_VERSION

            store, method = CaseStore.of(cfg, settings=settings), cfg.geographic_profile.method
            store.permit("geographic_profile", cfg, dataset=cfg.dataset, model=method, version=PROFILE_VERSION)


def _check_photo(path: Path, *, which: str | int, name: str, detector: str = "dlib") -> None:
    from crimeface_lib.faces import choose_face, detect_faces, load_image

    try:
        choose_face(detect_faces(load_image(path), detector=detector), which=which)
    except InputError as error:
        raise type(error)(f"{name} {path}: {error}") from error
