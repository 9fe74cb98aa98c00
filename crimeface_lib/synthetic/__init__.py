"""Faces, crimes and watchlists with known truth: nothing here is about anyone or anywhere."""

from crimeface_lib.synthetic.crimes import CrimeTruth, SyntheticCrimes, synthetic_crimes
from crimeface_lib.synthetic.faces import degrade_photo
from crimeface_lib.synthetic.points import PointTruth, SyntheticPoints, synthetic_points
from crimeface_lib.synthetic.police_files import write_police_uk
from crimeface_lib.synthetic.scores import SyntheticScores, synthetic_scores
from crimeface_lib.synthetic.watchlists import synthetic_collection, synthetic_watchlist

__all__ = [
    "CrimeTruth",
    "PointTruth",
    "SyntheticCrimes",
    "SyntheticPoints",
    "SyntheticScores",
    "degrade_photo",
    "synthetic_collection",
    "synthetic_crimes",
    "synthetic_points",
    "synthetic_scores",
    "synthetic_watchlist",
    "write_police_uk",
]
