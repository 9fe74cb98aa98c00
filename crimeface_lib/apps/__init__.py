"""Apps for the browser: widget classes that work without a server; ``notebooks/apps`` shows them through Voila."""

from crimeface_lib.apps.crime_map import CrimeMap, load_app_events
from crimeface_lib.apps.face_viewer import FaceViewer

__all__ = ["CrimeMap", "FaceViewer", "load_app_events"]
