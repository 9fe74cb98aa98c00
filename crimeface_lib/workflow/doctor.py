"""What is installed, on which device, with which models and licences, and how to get what is missing."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from crimeface_lib.core.device import resolve_device
from crimeface_lib.core.errors import CrimefaceError, MissingBackendError
from crimeface_lib.core.plugins import installed
from crimeface_lib.core.results import Result
from crimeface_lib.core.settings import Settings, load_settings
from crimeface_lib.reporting import find_chromium

#: Optional packages: what they are for and the command that brings them.
_EXTRAS = {
    "playwright": ("PDF reports", "pip install 'crimeface-lib[pdf]'"),
    "pytorch3d": ("PyTorch3D rasteriser", "conda env create -f environment.yml"),
    "onnxruntime": ("face nets in ONNX files", "pip install 'crimeface-lib[onnx]'"),
    "tenseal": ("comparing under encryption", "pip install 'crimeface-lib[he]'"),
}


@dataclass(frozen=True, slots=True)
class Finding(Result):
    """One line of the examination: ``state`` is "ok", "optional" (absent, not needed) or "missing"."""

    part: str
    state: str
    detail: str
    remedy: str = ""


def examine(settings: Settings | None = None) -> list[Finding]:
    """Return what a person needs to know before asking why something does not work."""
    settings = settings or load_settings()
    return [*_machine(settings), *_weights(settings), *_models(), *_backends(), *_optional(settings)]


def _machine(settings: Settings) -> list[Finding]:
    import torch

    device = resolve_device(settings.device)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"{torch.get_num_threads()} threads"
    data = settings.data_root
    ok = data is not None and data.is_dir()
    return [
        Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding("crimeface-lib", "ok", version("crimeface-lib")),
        Finding("device", "ok", f"{device} ({name}), torch {torch.__version__}"),
        Finding(
            "checkout",
            "ok" if (settings.project_root / "notebooks").is_dir() else "missing",
            str(settings.project_root),
            "run inside a checkout or set CRIMEFACE_PROJECT_ROOT",
        ),
        Finding(
            "data root",
            "ok" if ok else "missing" if data else "optional",
            str(data or "not set"),
            "" if ok else "set CRIMEFACE_DATA_ROOT to a folder laid out as data/README.md says",
        ),
    ]


def _weights(settings: Settings) -> list[Finding]:
    from crimeface_lib.core.artifacts import locate
    from crimeface_lib.faces.weights import POINTS_5, POINTS_68, RESNET

    findings = []
    for artifact in (POINTS_5, POINTS_68, RESNET):
        path = locate(artifact, settings=settings)
        findings.append(
            Finding(
                artifact.name,
                "ok" if path else "missing",
                f"licence: {artifact.licence}",
                "" if path else artifact.remedy,
            )
        )
    return findings


def _models() -> list[Finding]:
    from crimeface_lib.reconstruction import load_morphable_model

    findings = []
    for name in installed("morphable_models"):
        try:
            model = load_morphable_model(name)
            findings.append(
                Finding(f"face model {name}", "ok", f"{len(model.mean):,} vertices, licence: {model.licence}")
            )
        except CrimefaceError as error:
            findings.append(
                Finding(f"face model {name}", "optional", "not on this machine", str(error).split("; ")[-1])
            )
    return findings


def _backends() -> list[Finding]:
    kinds = ("detectors", "landmarkers", "embedders", "rasterizers", "stores")
    return [Finding(kind, "ok", ", ".join(installed(kind))) for kind in kinds]


def _optional(settings: Settings) -> list[Finding]:
    findings = []
    for package, (use, remedy) in _EXTRAS.items():
        try:
            findings.append(Finding(use, "ok", f"{package} {version(package)}"))
        except PackageNotFoundError:
            findings.append(Finding(use, "optional", f"{package} is not installed", remedy))
    try:
        findings.append(Finding("Chromium", "ok", str(find_chromium(settings.chromium))))
    except MissingBackendError as error:
        findings.append(Finding("Chromium", "optional", "not found: reports come without PDF", str(error)))
    return findings
