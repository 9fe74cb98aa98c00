"""Faces, crimes and watchlists with known truth: nothing here is about anyone or anywhere."""

from crimeface_lib.synthetic.crimes import CrimeTruth, SyntheticCrimes, synthetic_crimes, write_police_uk

__all__ = ["CrimeTruth", "SyntheticCrimes", "synthetic_crimes", "write_police_uk"]
