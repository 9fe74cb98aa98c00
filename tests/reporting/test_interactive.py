"""Live parts carry all they need and have a figure that stands for them on paper."""

from __future__ import annotations

import io
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from crimeface_lib.core.errors import ShapeError
from crimeface_lib.reporting import cell_heatmap, face_view, monthly_chart, plotly_html, snapshot_html
from crimeface_lib.reporting._cells import outside_loads
from crimeface_lib.reporting.style import house_style, new_figure


def test_snapshot_is_carried_whole(tetrahedron):
    vertices, triangles = tetrahedron
    plot = face_view(vertices, triangles, vertex_sd=[1, 2, 3, 4])
    with house_style():
        part = snapshot_html(plot, static=new_figure(width=2, height=1, alt="face"))
    html = part._repr_html_()
    assert html.startswith('<iframe class="cf-interactive"')
    assert outside_loads(html) == []
    assert len(html) < 2_500_000
    assert "uncertainty, mm" in html
    assert '<img alt="face"' in html


def test_normals_point_outwards_and_camera_looks_at_the_face(tetrahedron):
    vertices, triangles = tetrahedron
    plot = face_view(vertices, triangles)
    mesh = plot.objects[0]
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-6)
    outwards = ((vertices - vertices.mean(axis=0)) * mesh.normals).sum(axis=1)
    assert (outwards > 0).all()
    eye, target, up = np.reshape(plot.camera, (3, 3))
    assert eye[2] > vertices[:, 2].max()
    assert eye[:2].tolist() == target[:2].tolist()
    assert up.tolist() == [0, 1, 0]


def test_texture_seams_double_vertices_and_keep_the_surface(tetrahedron):
    vertices, triangles = tetrahedron
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 1.0]])
    corners = triangles.copy()
    corners[-1, 0] = 4  # vertex 1 has a second place on the texture
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4] = 255
    mesh = face_view(vertices, triangles, uv=uv, triangles_uv=corners, texture=texture).objects[0]
    assert len(mesh.vertices) == 5
    assert np.allclose(mesh.vertices[mesh.indices], vertices[triangles])
    assert np.allclose(mesh.uvs[mesh.indices] * [1, -1] + [0, 1], uv[corners])  # k3d counts v from the top
    assert np.asarray(Image.open(io.BytesIO(mesh.texture)))[0].min() > 240


def test_view_says_what_it_needs(tetrahedron):
    vertices, triangles = tetrahedron
    with pytest.raises(ShapeError, match="uv: got none"):
        face_view(vertices, triangles, texture=np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ShapeError, match="expected 0…3"):
        face_view(vertices, triangles + 1)
    with pytest.raises(ShapeError, match="expected 4 as the vertices"):
        face_view(vertices, triangles, vertex_sd=[1.0])


def test_heatmap_puts_each_cell_in_its_place():
    boxes = [shapely.box(x, y, x + 100, y + 100) for x, y in ((1000, 2000), (1100, 2000), (1000, 2100))]
    boxes[1] = shapely.box(1100, 2000, 1160, 2050)  # cut by a border
    cells = gpd.GeoDataFrame(geometry=boxes, crs=27700)
    trace = cell_heatmap(cells, [1, 2, 3], label="events").data[0]
    assert np.array_equal(trace.z, [[1, 2], [3, np.nan]], equal_nan=True)
    assert list(trace.x) == [1050, 1150]
    assert list(trace.y) == [2050, 2150]


def test_monthly_chart_keeps_gaps():
    chart = monthly_chart(pd.DataFrame({"all": [1.0, 2]}, index=["2019-01", "2019-03"]))
    assert np.isnan(chart.data[0].y[1])
    assert chart.data[0].connectgaps is False
    part = plotly_html(chart)
    bundle = part._repr_mimebundle_()
    assert json.dumps(bundle["application/vnd.plotly.v1+json"])
    assert "open the HTML report" in bundle["text/html"]
