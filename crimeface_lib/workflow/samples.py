"""Sample input by name: ``"photo": "sample"`` in a notebook, ``-p photo=sample`` in a terminal. Never unasked.

The photo is scikit-image's public-domain portrait of the astronaut Eileen Collins, the probe a degraded crop of it;
the crimes happen in a town that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crimeface_lib.core.errors import NotFoundError
from crimeface_lib.core.random import make_rng
from crimeface_lib.core.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from crimeface_lib.workflow.config import RunConfig

SAMPLE = "sample"
SEED = 20260101
_MONTHS = 36

#: The file or folder behind the name, for each parameter that can't be left out.
_FILES = {
    "photo": "photo.png", "photo_a": "photo.png", "photo_b": "probe.jpg", "probe": "probe.jpg",
    "photos": "photos", "crime": "crimes.zip",
}  # fmt: skip


def sample(name: str, *, settings: Settings | None = None) -> Path:
    """Return the file or folder that ``"sample"`` stands for as this parameter; it is made when it is absent.

    Raises
    ------
    NotFoundError : there is no sample of that name.
    """
    if name not in _FILES:
        raise NotFoundError(f"no sample {name!r}; there are: {', '.join(_FILES)}")
    folder = _folder(settings or load_settings())
    make_samples(folder)
    return folder / _FILES[name]


def put_samples(values: Mapping[str, Any], model: type[RunConfig]) -> dict[str, Any]:
    """Return ``values`` with the path of the sample in the place of each ``"sample"``."""
    return {
        name: sample(name) if value == SAMPLE and has_sample(name, model) else value for name, value in values.items()
    }


def has_sample(name: str, model: type[RunConfig]) -> bool:
    """Return whether the parameter is one that must be given, and there is a sample of it."""
    return name in _FILES and model.model_fields[name].is_required()


def cautions(cfg: RunConfig, *, settings: Settings) -> list[str]:
    """Return the sentence that a report on sample input has to say."""
    folder = _folder(settings)
    names = [name for name, value in cfg if isinstance(value, Path) and folder in value.parents]
    return [f"Anything about a case: {' and '.join(names)} came from the sample that is part of crimeface."][
        : len(names)
    ]


def make_samples(folder: Path) -> None:
    """Write photo, degraded probe, two photos of one person, crimes and groups of areas, unless they are there.

    The same seed writes the same bytes.
    """
    from PIL import Image
    from skimage import data

    from crimeface_lib.synthetic import degrade_photo, synthetic_crimes, write_police_uk

    photo = np.ascontiguousarray(data.astronaut())
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for path, picture in (("photo.png", photo), ("photos/1.png", photo), ("photos/2.png", photo[:300, 60:360])):
        if not (folder / path).exists():
            Image.fromarray(picture).save(folder / path)
    if not (folder / "probe.jpg").exists():
        probe = degrade_photo(photo, rng=make_rng(SEED, stream="probe"))
        Image.fromarray(probe).save(folder / "probe.jpg", quality=70)
    if not (folder / "areas.csv").exists():
        made = synthetic_crimes(months=_MONTHS, rng=make_rng(SEED, stream="crimes"))
        write_police_uk(made.table, folder / "crimes.zip")
        _quarters(made.table).to_csv(folder / "areas.csv", index=False)


def _folder(settings: Settings) -> Path:
    return (settings.stores / "samples").resolve()


def _quarters(table: pd.DataFrame) -> pd.DataFrame:
    """Return the quarter of the town, by the compass, of each LSOA: a grouping of places to audit a forecast by."""
    middle = table.groupby("LSOA code")[["Longitude", "Latitude"]].mean()
    north, east = (middle[axis] > middle[axis].median() for axis in ("Latitude", "Longitude"))
    group = north.map({True: "north", False: "south"}) + "-" + east.map({True: "east", False: "west"})
    return group.rename("group").rename_axis("area").reset_index()
