"""A photo in; faces, landmarks, aligned chips and a quality score out.

Coordinates are pixels of the picture that ``load_image`` returned: x to the right, y down, the centre of the
top left pixel at (0, 0). Coming here needs no dlib: it loads with the first detection.
"""

from crimeface_lib.faces.align import align_face
from crimeface_lib.faces.collection import list_photos, read_pairs
from crimeface_lib.faces.detect import Choice, Detector, Face, choose_face, detect_faces
from crimeface_lib.faces.image import PhotoMetadata, load_image, photo_metadata
from crimeface_lib.faces.landmarks import Landmarker, Landmarks, find_landmarks
from crimeface_lib.faces.quality import Quality, assess_quality

__all__ = [
    "Choice",
    "Detector",
    "Face",
    "Landmarker",
    "Landmarks",
    "PhotoMetadata",
    "Quality",
    "align_face",
    "assess_quality",
    "choose_face",
    "detect_faces",
    "find_landmarks",
    "list_photos",
    "load_image",
    "photo_metadata",
    "read_pairs",
]
