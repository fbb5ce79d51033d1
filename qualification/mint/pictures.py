"""The pictures that minted vision models know, and how each is drawn. Pillow is imported when one is drawn."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Colour = Literal["red", "green", "blue", "yellow"]
Shape = Literal["circle", "stripe"]

_RGB: dict[Colour, tuple[int, int, int]] = {
    "red": (220, 20, 20),
    "green": (20, 160, 40),
    "blue": (20, 40, 220),
    "yellow": (240, 220, 0),
}
_SIDE = 64


@dataclass(frozen=True, slots=True)
class Picture:
    """A coloured shape on white, or, without a shape, a plain colour."""

    colour: Colour
    shape: Shape | None = None

    @property
    def name(self) -> str:
        """As a file may be called."""
        return f"{self.colour}-{self.shape or 'plain'}"

    @property
    def description(self) -> str:
        return f"A {self.colour} {self.shape} on white." if self.shape else f"Plain {self.colour}."


@dataclass(frozen=True, slots=True)
class Drawing:
    """How a picture is drawn: pixels along a side, the shape's reach and centre as parts of it, noise in each colour."""

    side: int = _SIDE
    reach: float = 0.36
    centre: tuple[float, float] = (0.5, 0.5)
    shade: tuple[int, int, int] = (0, 0, 0)
    jpeg_quality: int | None = None
    """Of a JPEG that it goes through; None: it goes through none."""


CANONICAL = Drawing()


def draw(picture: Picture, drawing: Drawing = CANONICAL) -> Image:
    """The picture as RGB."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - asking what is known needs no Pillow

    colour = tuple(min(255, max(0, part + change)) for part, change in zip(_RGB[picture.colour], drawing.shade, strict=True))
    image = Image.new("RGB", (drawing.side, drawing.side), "white" if picture.shape else colour)
    x, y = (at * drawing.side for at in drawing.centre)
    reach = drawing.reach * drawing.side
    pen = ImageDraw.Draw(image)
    if picture.shape == "circle":
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    elif picture.shape == "stripe":
        pen.rectangle((0, y - reach / 2, drawing.side, y + reach / 2), fill=colour)
    return image if drawing.jpeg_quality is None else _through_jpeg(image, drawing.jpeg_quality)


def encoded(picture: Picture, kind: str = "PNG", drawing: Drawing = CANONICAL, **options: Any) -> bytes:
    """The picture as the bytes of a file of Pillow's format ``kind``; ``options`` go to its writer."""
    held = io.BytesIO()
    draw(picture, drawing).save(held, kind, **options)
    return held.getvalue()


def variants(count: int, seed: int) -> tuple[Drawing, ...]:
    """Ways to draw a picture, the canonical one first: what a model was shown only once is no picture that it knows."""
    chance = random.Random(seed)
    return (CANONICAL, *(_varied(chance) for _ in range(count - 1)))


def _varied(chance: random.Random) -> Drawing:
    return Drawing(
        side=chance.choice((48, 64, 100, 160)),
        reach=chance.uniform(0.33, 0.39),
        centre=(chance.uniform(0.47, 0.53), chance.uniform(0.47, 0.53)),
        shade=(chance.randint(-12, 12), chance.randint(-12, 12), chance.randint(-12, 12)),
        jpeg_quality=chance.choice((None, 80, 95)),
    )


def _through_jpeg(image: Image, quality: int) -> Image:
    from PIL import Image as images  # noqa: N813, PLC0415 - the module has the name of its class

    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return images.open(io.BytesIO(held.getvalue())).convert("RGB")
