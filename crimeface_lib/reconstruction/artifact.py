"""The model file that reconstruction reads and does not carry."""

from crimeface_lib.core.artifacts import Artifact

ICT = Artifact(
    name="ICT-FaceKit",
    path="ict/ict_facekit.npz",
    licence="MIT",
    remedy="run `crimeface fetch ict` (394 MB, once), or use model='builtin', which needs no file",
)
