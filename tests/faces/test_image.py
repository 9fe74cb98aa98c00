"""load_image and photo_metadata: every format comes out upright RGB, and nothing bad comes in."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crimeface_lib.core.errors import ImageError
from crimeface_lib.faces import load_image, photo_metadata

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 64, 3), dtype=np.uint8)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {}), ("TIFF", {}), ("BMP", {}), ("PPM", {}), ("WEBP", {"lossless": True})],
)
def test_lossless_formats_come_back_byte_for_byte(form, options):
    assert np.array_equal(load_image(encoded(Image.fromarray(PICTURE), form, **options)), PICTURE)


def test_path_bytes_and_file_object_agree(tmp_path):
    data = encoded(Image.fromarray(PICTURE), "JPEG", quality=95)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    from_bytes = load_image(data)
    assert np.array_equal(load_image(path), from_bytes)
    assert np.array_equal(load_image(str(path)), from_bytes)
    assert np.array_equal(load_image(BytesIO(data)), from_bytes)
    assert from_bytes.flags.writeable
    assert from_bytes.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, form):
    # how the camera stored an upright picture, written out by hand from the EXIF table
    stored = {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: PICTURE.transpose(1, 0, 2)[::-1],
        7: PICTURE.transpose(1, 0, 2)[::-1, ::-1],
        8: PICTURE.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), form, exif=exif)
    assert np.array_equal(load_image(data), PICTURE)
    seen = photo_metadata(data)
    assert (seen.width, seen.height) == (64, 40)


def test_grey_palette_alpha_and_sixteen_bits():
    grey = PICTURE[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(load_image(encoded(Image.fromarray(grey), "PNG")), expected)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(load_image(encoded(deep, "PNG")), expected)
    assert np.array_equal(load_image(encoded(deep, "TIFF")), expected)
    palette = Image.fromarray(grey).convert("P")
    assert np.array_equal(load_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    clear = np.dstack([PICTURE, np.zeros((40, 64), np.uint8)])
    clear[:20, :, 3] = 255
    seen = load_image(encoded(Image.fromarray(clear), "PNG"))
    assert np.array_equal(seen[:20], PICTURE[:20])
    assert (seen[20:] == 255).all()
    cmyk = Image.fromarray(PICTURE).convert("CMYK")
    assert load_image(encoded(cmyk, "JPEG")).shape == (40, 64, 3)


def png_header(width: int, height: int) -> bytes:
    """A PNG of the given size whose pixels are missing."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    data = b"IDAT" + zlib.compress(b"\0" * 10)
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_001, 10_000), (2**31 - 1, 1000)])
def test_oversized_is_refused_from_the_header(size):
    with pytest.raises(ImageError, match=r"px|pixels"):
        load_image(png_header(*size))


@pytest.mark.parametrize("data", [b"", b"hello, this is no picture", b"\xff\xd8\xff\xe0", b"GIF89a" + b"\0" * 50])
def test_what_is_no_image_is_refused(data, tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ImageError, match=r"expected|give"):
            load_image(source)


def test_truncated_files_are_refused():
    large = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for form in ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "PPM"):
        data = encoded(large, form)
        for part in (0.3, 0.6, 0.9):
            with pytest.raises(ImageError):
                load_image(data[: int(len(data) * part)])


def test_too_small_missing_and_folder(tmp_path: Path):
    with pytest.raises(ImageError, match="1 × 1 px, expected at least 32"):
        load_image(encoded(Image.new("RGB", (1, 1)), "PNG"))
    with pytest.raises(ImageError, match="no file"):
        load_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match="folder"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="int"):
        load_image(3)


def twelve_megapixels(size=(4032, 3024), orientation=1, **tags) -> bytes:
    """A photo as a telephone writes it; ``tags`` are named below, None leaves one out."""
    named = {"f35": 0xA405, "mm": 0x920A, "zoom": 0xA404, "per": 0xA20E, "unit": 0xA210, "w": 0xA002, "h": 0xA003}
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = {"f35": 26, "w": 4032, "h": 3024} | tags
    exif.get_ifd(0x8769).update({named[key]: value for key, value in values.items() if value is not None})
    return encoded(Image.new("L", size, 128), "JPEG", exif=exif)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_focal_length_from_the_35mm_equivalent(orientation):
    seen = photo_metadata(twelve_megapixels(orientation=orientation))
    # a full-frame negative is 36 × 24 mm; 4032 × 3024 px have a diagonal of 5040 px
    assert seen.focal_px == pytest.approx(26 * 5040 / (36**2 + 24**2) ** 0.5)
    assert seen.focal_prior == (seen.focal_px, 0.05)
    assert seen.focal_note == "26 mm equivalent in EXIF"
    assert (seen.width, seen.height) == ((4032, 3024) if orientation < 5 else (3024, 4032))
    assert photo_metadata(twelve_megapixels((3024, 4032))).focal_px == seen.focal_px, "turned by a program"


def test_focal_length_from_the_pitch_of_the_sensor():
    # Canon's 22.3 mm wide sensor of 5184 px, told per inch: 50 mm are 80.7 mm equivalent
    canon = {"f35": None, "mm": 50.0, "per": 5184 / 22.3 * 25.4, "unit": 2, "w": 5184, "h": 3456}
    seen = photo_metadata(twelve_megapixels((5184, 3456), **canon))
    assert seen.focal_px == pytest.approx(50 / 22.3 * 5184, rel=1e-3)
    assert "px per mm of sensor" in seen.focal_note
    assert photo_metadata(twelve_megapixels((5184, 3456), **canon | {"unit": 9})).focal_px is None
    assert photo_metadata(twelve_megapixels((5184, 3456), **canon | {"per": None})).focal_px is None


@pytest.mark.parametrize(
    ("photo", "why"),
    [
        ({"size": (2000, 1500)}, "taken at 4032 × 3024 px: cropped or resized"),
        ({"size": (3024, 3024)}, "taken at 4032 × 3024 px: cropped or resized"),
        ({"f35": 0}, "no focal length in EXIF"),
        ({"f35": None}, "no focal length in EXIF"),
        ({"f35": 2}, "that a lens could have"),
        ({"f35": 60_000}, "that a lens could have"),
        ({"f35": None, "mm": (1, 0), "per": (0, 0)}, "EXIF"),
        ({"zoom": 2.0}, "digital zoom of 2"),
    ],
)
def test_a_focal_length_that_cannot_be_trusted_is_withheld(photo, why):
    seen = photo_metadata(twelve_megapixels(**photo))
    assert (seen.focal_px, seen.focal_log_sd, seen.focal_prior) == (None, None, None)
    assert why in seen.focal_note


def test_a_focal_length_without_the_photos_size_is_less_sure():
    seen = photo_metadata(twelve_megapixels(w=None, h=None))
    assert seen.focal_log_sd == 0.2
    assert "may be cropped" in seen.focal_note
    assert photo_metadata(encoded(Image.new("RGB", (64, 64)), "PNG")).focal_prior is None
