"""One image file -> pixels: whatever its kind, turned, laid on white, scaled; and refused where it cannot be right."""

import os
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightsweep.core.text import printable
from lightsweep.data.decode import MAX_PIXELS, RESIZES, BadImage, decode_image

NOISE = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
CORNERS = np.zeros((24, 24, 3), dtype=np.uint8)  # red top left, green top right, blue bottom left
CORNERS[:12, :12, 0] = CORNERS[:12, 12:, 1] = CORNERS[12:, :12, 2] = 255
TURNED = {1: lambda a: a, 3: lambda a: np.rot90(a, 2), 6: lambda a: np.rot90(a, -1), 8: np.rot90}
MIRRORED = {
    2: lambda a: a[:, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
}


def content(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(source: bytes | Path, image_size: int | tuple[int, int] = 6, **options) -> np.ndarray:
    """Pixels as ``[H, W, C]``."""
    pixels = decode_image(source, image_size=image_size, **{"resize": "squash", "grayscale": False} | options)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels.transpose(1, 2, 0)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_an_image_of_the_wanted_size_keeps_every_pixel(resize: str, kind: str, options: dict) -> None:
    np.testing.assert_array_equal(decoded(content(Image.fromarray(NOISE), kind, **options), resize=resize), NOISE)


def test_a_jpeg_of_the_wanted_size_is_what_pillow_reads() -> None:
    jpeg = content(Image.fromarray(NOISE), "JPEG")
    np.testing.assert_array_equal(decoded(jpeg), np.asarray(Image.open(BytesIO(jpeg))))


def test_a_path_gives_the_same_as_its_content(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a \n[b]\xff.PNG")
    path.write_bytes(content(Image.fromarray(NOISE)))
    np.testing.assert_array_equal(decoded(path), NOISE)


def test_gray_becomes_three_equal_channels_and_colour_one_of_luma() -> None:
    gray = NOISE[..., 0]
    np.testing.assert_array_equal(decoded(content(Image.fromarray(gray))), np.dstack([gray] * 3))
    np.testing.assert_array_equal(decoded(content(Image.fromarray(gray)), grayscale=True)[..., 0], gray)
    luma = decoded(content(Image.fromarray(NOISE)), grayscale=True)
    assert luma.shape == (6, 6, 1)
    np.testing.assert_allclose(luma[..., 0], NOISE @ [0.299, 0.587, 0.114], atol=1)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_white_and_black_are_white_and_black_in_every_mode(mode: str) -> None:
    gray = np.zeros((16, 16), np.uint8)
    gray[:8] = 255
    wide = mode.startswith("I")
    image = Image.fromarray(gray.astype(np.uint16) * 257) if wide else Image.fromarray(gray).convert(mode)
    image = image.convert("I") if mode == "I" else image
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG", "I": "PPM"}.get(mode, "PNG")
    assert Image.open(BytesIO(content(image, kind))).mode == mode or mode == "YCbCr"
    np.testing.assert_allclose(decoded(content(image, kind), 16, grayscale=True)[..., 0], gray, atol=2)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 0), (256, 1), (0x8000, 128), (0xFFFF, 255)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_eight_are_kept(kind: str, value: int, expected: int) -> None:
    wide = Image.fromarray(np.full((6, 6), value, np.uint16))
    assert np.unique(decoded(content(wide, kind))).tolist() == [expected]


def test_16_bit_colour_keeps_the_upper_eight_too() -> None:
    rows = b"".join(b"\0" + bytes([200, 99, 100, 99, 50, 99]) * 6 for _ in range(6))
    assert np.unique(decoded(png(6, 6, 16, 2, zlib.compress(rows))).reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]


def png(width: int, height: int, bits: int, colour: int, data: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_what_is_transparent_lies_on_white_and_what_is_opaque_stays() -> None:
    alpha = np.full((6, 6), 255, np.uint8)
    alpha[0], alpha[1] = 0, 128
    expected = NOISE.copy()
    expected[0] = 255
    pixels = decoded(content(Image.fromarray(np.dstack([NOISE, alpha]))))
    np.testing.assert_array_equal(pixels[[0, 2, 3, 4, 5]], expected[[0, 2, 3, 4, 5]])
    np.testing.assert_allclose(pixels[1], NOISE[1] * (128 / 255) + 127, atol=1)


def test_a_transparent_colour_of_a_palette_lies_on_white() -> None:
    palette = Image.fromarray(CORNERS).quantize(4)
    index = palette.getpixel((0, 0))
    pixels = decoded(content(palette, transparency=index), 24)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[0, 23].tolist() == [0, 255, 0]


@pytest.mark.parametrize("orientation", [*TURNED, *MIRRORED])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_is_turned_as_its_exif_orientation_says(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(content(Image.fromarray(CORNERS), kind, exif=exif), 24)
    np.testing.assert_allclose(pixels[3::6, 3::6], (TURNED | MIRRORED)[orientation](CORNERS)[3::6, 3::6], atol=40)


@pytest.mark.parametrize("exif", [b"Exif\0\0 nothing like it", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_damaged_exif_data_turn_nothing(exif: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = decoded(content(Image.fromarray(CORNERS), "JPEG", exif=exif), 24)
    np.testing.assert_allclose(pixels[3::6, 3::6], CORNERS[3::6, 3::6], atol=40)


def test_exif_data_that_cannot_be_written_back_are_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    file = content(Image.fromarray(CORNERS), "JPEG", exif=exif)
    monkeypatch.setattr(Image.Exif, "tobytes", lambda *_: (_ for _ in ()).throw(struct.error("required")))
    np.testing.assert_allclose(decoded(file, 24)[3::6, 3::6], TURNED[3](CORNERS)[3::6, 3::6], atol=40)


STRIPES = np.zeros((12, 24, 3), np.uint8)  # red, white, white, blue from left to right
STRIPES[:, :6, 0] = STRIPES[:, 18:, 2] = STRIPES[:, 6:18] = 255


@pytest.mark.parametrize(
    ("resize", "row", "corner"),
    [
        ("squash", [[255, 0, 0], [255, 255, 255], [255, 255, 255], [0, 0, 255]], [255, 0, 0]),
        ("crop", [[255, 255, 255]] * 4, [255, 191, 191]),  # a pixel's neighbours count when it is made larger
        ("pad", [[255, 0, 0], [255, 255, 255], [255, 255, 255], [0, 0, 255]], [0, 0, 0]),
    ],
)
def test_squash_crop_and_pad(resize: str, row: list, corner: list) -> None:
    pixels = decoded(content(Image.fromarray(STRIPES)), 24, resize=resize)
    assert pixels.shape == (24, 24, 3)
    assert pixels[12, 3::6].tolist() == row
    assert pixels[0, 0].tolist() == corner


def test_sides_can_differ() -> None:
    assert decoded(content(Image.fromarray(STRIPES)), (3, 5)).shape == (3, 5, 3)


def test_a_large_jpeg_is_read_faster_at_no_visible_cost() -> None:
    draw = np.random.default_rng(1)
    smooth = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480), Image.BICUBIC)
    jpeg = content(smooth, "JPEG", quality=90)
    full = Image.open(BytesIO(jpeg)).resize((32, 32), Image.BILINEAR)
    assert np.abs(decoded(jpeg, 32).astype(int) - np.asarray(full)).mean() < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_refused(kind: str, share: float) -> None:
    full = content(Image.fromarray(np.kron(NOISE, np.ones((20, 20, 1), np.uint8))), kind)
    with pytest.raises(BadImage) as refusal:
        decoded(full[: int(len(full) * share)])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "junk", [b"", b"\0" * 100, b"<svg/>", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff"]
)
def test_what_is_no_image_is_refused(junk: bytes) -> None:
    with pytest.raises(BadImage, match="it is "):
        decoded(junk)


@pytest.mark.parametrize("side", [10_001, 40_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest undoes what the module ignores
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(BadImage, match=r"pixels, more than 100,000,000"):
        decoded(png(side, side, 1, 0, zlib.compress(b"")))


@pytest.mark.parametrize("pixels", [np.full((6, 6), 1e6, np.float32), np.full((6, 6), 70_000, np.int32)])
def test_pixels_of_unknown_range_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(BadImage, match="whose range is not known"):
        decoded(content(Image.fromarray(pixels), "TIFF"))


def test_a_folder_a_pipe_and_a_missing_file_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    reasons = {"": "it is no regular file", "pipe.png": "it is no regular file", "gone.png": "there is no such file"}
    for name, reason in reasons.items():
        with pytest.raises(BadImage, match=reason):
            decoded(tmp_path / name)


def test_names_are_shown_without_what_a_terminal_would_obey() -> None:
    assert printable(Path(os.fsdecode(b"caf\xc3\xa9 \x1b[1m\n\xff"))) == r"café \x1b[1m\n\udcff"
