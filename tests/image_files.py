"""Small class folders of image files, of every kind that a person may have."""

import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def picture(number: int, width: int = 12, height: int = 9) -> Image.Image:
    """Noise whose mean brightness is about `number`, below 200."""
    noise = np.random.default_rng(number).integers(0, 50, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise + np.uint8(number))


def write_folder(root: Path, classes: Iterable[str] = CLASSES, count: int = 10) -> Path:
    """ROOT/CLASS/0.png ..., `count` of each class; image i of class k is picture(60 * k + i)."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(60 * (label % 3) + number).save(root / name / f"{number}.png")
    return root


def write_oddities(folder: Path) -> int:
    """Images that are to be read, of every kind, with odd names; gives how many."""
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = picture(5).convert("RGBA")
    alpha.putalpha(128)
    files = {
        b"photo.JPG": (picture(1, 300, 200), "JPEG", {"exif": exif}),
        b"web.webp": (picture(2), "WEBP", {}),
        b"old.bmp": (picture(3), "BMP", {}),
        b"palette.png": (picture(4).convert("P"), "PNG", {"transparency": 0}),
        b"transparent.png": (alpha, "PNG", {}),
        b"16 bits.png": (Image.fromarray(np.full((5, 7), 40_000, np.uint16)), "PNG", {}),
        b"gray.jpeg": (picture(7).convert("L"), "JPEG", {}),
        b"cmyk.jpg": (picture(8).convert("CMYK"), "JPEG", {}),
        b"no extension": (picture(9), "PNG", {}),
        b"b\xff\n[red]\x1b[1m.png": (picture(10), "PNG", {}),
        b"wide.png": (picture(11, 1000, 2), "PNG", {}),
        b"one pixel.gif": (picture(12, 1, 1), "GIF", {}),
    }
    for name, (image, kind, options) in files.items():
        image.save(folder / os.fsdecode(name), kind, **options)
    (folder / "below" / "further").mkdir(parents=True)
    picture(13).save(folder / "below" / "further" / "deep.png")
    (folder / "below" / "circle").symlink_to(folder)
    (folder / "link.png").symlink_to(folder / "old.bmp")
    for litter in ("Thumbs.db", ".DS_Store", ".hidden.png", "desktop.ini"):
        (folder / litter).write_bytes(b"litter")
    return len(files) + 2


def write_junk(folder: Path) -> list[str]:
    """Files that are no images; gives their names as they are shown, in order."""
    buffer = BytesIO()
    picture(1, 100, 100).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[:1000])
    (folder / "empty.png").touch()
    (folder / "notes\n.txt").write_text("no image")
    (folder / "nowhere.png").symlink_to(folder / "gone.png")
    os.mkfifo(folder / "pipe.png")
    return ["cut.jpg", "empty.png", r"notes\n.txt", "nowhere.png", "pipe.png"]
