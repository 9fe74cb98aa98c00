"""A textured triangle mesh and the files it becomes: GLB, OBJ with MTL and PNG, PLY, npz."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crimeface_lib.core.display import Shown
from crimeface_lib.core.errors import InputError
from crimeface_lib.core.files import write_atomic

#: What ``Mesh.export`` writes, by suffix.
SUFFIXES = (".glb", ".obj", ".ply", ".npz")


@dataclass(frozen=True, slots=True, repr=False)
class Mesh(Shown):
    """A head in millimetres, head frame (x right of the picture, y up, z out of the face).

    Parameters
    ----------
    vertices : (V, 3) float64, mm.
    triangles : (T, 3) int32, counter-clockwise from outside.
    uv : (U, 2) float64, origin at the bottom left; triangles_uv : (T, 3) int32 into it.
    texture : (S, S, 3) uint8 RGB, first row on top (v = 1).
    vertex_sd : (V,) float64, mm.
    about : provenance and licence, written into every file.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    triangles_uv: np.ndarray
    texture: np.ndarray
    vertex_sd: np.ndarray
    about: dict[str, str] = field(default_factory=dict)

    def unrolled(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return triangles (T, 3) uint32, for each new vertex the old one (N,), and its UV (N, 2): one UV a vertex."""
        pairs = np.stack([self.triangles.ravel(), self.triangles_uv.ravel()], 1).astype(np.int64)
        _, first, inverse = np.unique(pairs @ [1 << 32, 1], return_index=True, return_inverse=True)
        return inverse.reshape(-1, 3).astype(np.uint32), pairs[first, 0], self.uv[pairs[first, 1]]

    def vertex_colours(self) -> np.ndarray:
        """Return (V, 3) uint8, the texture at each vertex; grey where a vertex is in no triangle."""
        _, old, uv = self.unrolled()
        side = len(self.texture)
        column = np.clip((uv[:, 0] * side).astype(int), 0, side - 1)
        row = np.clip(((1 - uv[:, 1]) * side).astype(int), 0, side - 1)
        colours = np.full((len(self.vertices), 3), 128, np.uint8)
        colours[old] = self.texture[row, column]
        return colours

    def export(self, path: str | Path) -> tuple[Path, ...]:
        """Write the mesh as its suffix says and return the files written.

        .glb : glTF 2.0, in metres as glTF demands, y up; provenance in ``asset.extras``.
        .obj : millimetres; beside it a .mtl and a .png of the same name (spaces become _); provenance in comments.
        .ply : binary, millimetres; colour and ``sd_mm`` at each vertex, no UV; provenance in comments.
        .npz : every array, millimetres.

        What a file of the same name held is replaced; when a write fails, it stays, and nothing new is left.

        Raises
        ------
        InputError : another suffix, or a place that can't be written to.
        """
        path = Path(path)
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"export: got {path.suffix or 'no suffix'!r}, expected one of {', '.join(SUFFIXES)}")
        writer = {".glb": self._glb, ".obj": self._obj, ".ply": self._ply, ".npz": self._npz}[path.suffix.lower()]
        contents = writer(path)
        staged = {target: target.with_name(f".{target.name}.part") for target in contents}
        try:
            for target, data in contents.items():
                write_atomic(staged[target], data)
            for target, part in staged.items():
                os.replace(part, target)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"export: can't write {path.name} into {path.parent}: {reason}; choose a folder you may write to"
            ) from error
        finally:
            for part in staged.values():
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
        return tuple(contents)

    def _glb(self, path: Path) -> dict[Path, bytes]:
        import trimesh
        from PIL import Image

        triangles, old, uv = self.unrolled()
        material = trimesh.visual.material.PBRMaterial(
            baseColorTexture=Image.fromarray(self.texture), metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True
        )
        mesh = trimesh.Trimesh(
            self.vertices[old] / 1000, triangles, process=False,
            visual=trimesh.visual.TextureVisuals(uv=uv, material=material),
        )  # fmt: skip

        def add_extras(tree: dict[str, Any]) -> None:
            tree["asset"]["extras"] = {**self.about, "unit": "metre"}

        scene = trimesh.Scene(mesh)
        return {path: trimesh.exchange.gltf.export_glb(scene, include_normals=True, tree_postprocessor=add_extras)}

    def _obj(self, path: Path) -> dict[Path, bytes]:
        plain = path.with_name(path.stem.replace(" ", "_"))  # OBJ has no way to write a name with a space
        material, picture = (plain.with_name(plain.name + suffix) for suffix in (".mtl", ".png"))
        corners = np.stack([self.triangles, self.triangles_uv], 2).reshape(-1, 6) + 1
        out = io.StringIO()
        out.write("".join(f"# {line}\n" for line in self._comments("millimetre")))
        out.write(f"mtllib {material.name}\no head\nusemtl head\n")
        np.savetxt(out, self.vertices, "v %.4f %.4f %.4f")
        np.savetxt(out, self.uv, "vt %.6f %.6f")
        np.savetxt(out, corners, "f %d/%d %d/%d %d/%d")
        text = f"newmtl head\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n"
        return {path: out.getvalue().encode(), material: text.encode(), picture: png_bytes(self.texture)}

    def _ply(self, path: Path) -> dict[Path, bytes]:
        rows = np.zeros(len(self.vertices), np.dtype("<f4,<f4,<f4,u1,u1,u1,<f4"))
        columns = [*self.vertices.T, *self.vertex_colours().T, self.vertex_sd]
        for name, column in zip(rows.dtype.names or (), columns, strict=True):
            rows[name] = column
        faces = np.zeros(len(self.triangles), np.dtype([("n", "u1"), ("i", "<i4", 3)]))
        faces["n"], faces["i"] = 3, self.triangles
        head = ["ply", "format binary_little_endian 1.0", *(f"comment {line}" for line in self._comments("millimetre"))]
        head += [f"element vertex {len(rows)}", *(f"property float {axis}" for axis in "xyz")]
        head += [*(f"property uchar {colour}" for colour in ("red", "green", "blue")), "property float sd_mm"]
        head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header\n"]
        return {path: "\n".join(head).encode("ascii", "replace") + rows.tobytes() + faces.tobytes()}

    def _npz(self, path: Path) -> dict[Path, bytes]:
        names = ("vertices", "triangles", "uv", "triangles_uv", "texture", "vertex_sd")
        buffer = io.BytesIO()
        about = np.array([f"{key}: {value}" for key, value in {**self.about, "unit": "millimetre"}.items()])
        np.savez_compressed(buffer, about=about, **{name: getattr(self, name) for name in names})
        return {path: buffer.getvalue()}

    def _comments(self, unit: str) -> list[str]:
        return [" ".join(f"{key}: {value}".split()) for key, value in {**self.about, "unit": unit}.items()]


def png_bytes(image: np.ndarray) -> bytes:
    """Return an (H, W, 3) uint8 picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
