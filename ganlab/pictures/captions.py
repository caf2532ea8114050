"""Names of rows beside a sheet of pictures, and a line below it."""

from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont

SMALLEST, LARGEST = 12.0, 24.0
"""Heights of letters, px: a fifth of a row's within these."""
WIDEST = 12
"""Largest width of a name, in heights of its letters; a longer one is cut."""

MARGIN = round((WIDEST + 1) * LARGEST)
"""Largest width of a column of captions, px."""


def captions_of(class_names: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Return the captions of classes: their names, or "class 3" where the font lacks a letter; none without names."""
    return [class_names[k] if _legible(class_names[k]) else f"class {k}" for k in numbers] if class_names else []


def beside(sheet: Image.Image, captions: Sequence[str]) -> Image.Image:
    """Add a white column with one caption a row at the left of a sheet of equal rows; none without captions."""
    if not captions:
        return sheet
    row = sheet.height / len(captions)
    font = font_of(min(max(row / 5, SMALLEST), LARGEST))
    texts = [_shortened(text, font) for text in captions]
    margin = round(font.size / 2)
    column = round(max(map(font.getlength, texts)) + 2 * margin)
    wide = Image.new(sheet.mode, (column + sheet.width, sheet.height), "white")
    wide.paste(sheet, (column, 0))
    draw = ImageDraw.Draw(wide)
    for number, text in enumerate(texts):
        draw.text((column - margin, (number + 0.5) * row), text, fill="black", font=font, anchor="rm")
    return wide


def below(sheet: Image.Image, text: str) -> Image.Image:
    """Add a white band with a line of text below a sheet."""
    font = font_of(min(max(sheet.height / 20, SMALLEST), LARGEST))
    margin = round(font.size / 3)
    high = Image.new(sheet.mode, (sheet.width, sheet.height + round(font.size) + 2 * margin), "white")
    high.paste(sheet, (0, 0))
    ImageDraw.Draw(high).text((margin, high.height - margin), text, fill="black", font=font, anchor="ls")
    return high


def font_of(size: float) -> ImageFont.FreeTypeFont:
    """Return the font of all text in pictures, with letters of a height in px."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "a Pillow without FreeType"
    return font


def _shortened(text: str, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= WIDEST * font.size:
        return text
    while text and font.getlength(f"{text}...") > WIDEST * font.size:
        text = text[:-1]
    return f"{text}..."


def _legible(text: str) -> bool:
    """Tell whether the font has all letters of a text; it draws the same box for each that it lacks."""
    font = font_of(SMALLEST)
    box = bytes(font.getmask("\uffff"))
    return bool(text.strip()) and all(bytes(font.getmask(letter)) != box for letter in text)
