"""Curves of a training as a PNG file, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

SIZE, PANEL, MARGIN = 900, 220, 60
COLOURS = ("#1b6ca8", "#c1440e", "#2e7d32", "#6a1b9a", "#8d6e00")


def curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw each metric of the history over its steps, one panel each, and write a PNG."""
    names = [n for n in dict.fromkeys(n for h in history for n in h) if n != "step"]
    image = Image.new("RGB", (SIZE, PANEL * max(1, len(names)) + 20), "white")
    draw = ImageDraw.Draw(image)
    for row, name in enumerate(names):
        points = [(h["step"], h[name]) for h in history if name in h]
        top, bottom = row * PANEL + 30, (row + 1) * PANEL - 10
        steps, values = [p[0] for p in points], [p[1] for p in points]
        low, high = min(values), max(values)
        across = (SIZE - 2 * MARGIN) / max(1.0, max(steps) - min(steps))
        up = (bottom - top) / max(1e-12, high - low)
        line = [
            (MARGIN + (step - min(steps)) * across, bottom - (value - low) * up)
            for step, value in points
        ]
        draw.rectangle((MARGIN, top, SIZE - MARGIN, bottom), outline="#bbbbbb")
        if len(line) > 1:
            draw.line(line, fill=COLOURS[row % len(COLOURS)], width=2)
        else:
            (x, y), fill = line[0], COLOURS[row % len(COLOURS)]
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=fill)
        draw.text((MARGIN, top - 16), f"{name}: {values[0]:.4f} to {values[-1]:.4f}", fill="black")
        draw.text((4, top), f"{high:.3g}", fill="black")
        draw.text((4, bottom - 10), f"{low:.3g}", fill="black")
        draw.text((SIZE - MARGIN - 70, bottom + 2), f"step {int(max(steps))}", fill="black")
    image.save(path)


def best_rows(rows: Sequence[Mapping[str, float]]) -> list[int]:
    """The settings that no quicker one equals in recall@10, quickest first."""
    order = sorted((row["milliseconds"], -row["recall_at_10"], n) for n, row in enumerate(rows))
    kept: list[int] = []
    least = 1.0
    for _, missed, n in order:
        if missed < least:
            kept.append(n)
            least = missed
    return kept


def frontier(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw recall@10 over milliseconds, a point a setting, the chosen one filled; write a PNG.

    A line joins the settings that no quicker one equals.
    """
    image = Image.new("RGB", (SIZE, 2 * PANEL + 60), "white")
    draw = ImageDraw.Draw(image)
    top, bottom = 40, 2 * PANEL
    times = [row["milliseconds"] for row in rows]
    low = min(0.9, *(row["recall_at_10"] for row in rows))
    across = (SIZE - 2 * MARGIN) / max(1e-9, max(times) - min(times))
    up = (bottom - top) / max(1e-9, 1 - low)
    points = [
        (
            MARGIN + (row["milliseconds"] - min(times)) * across,
            bottom - (row["recall_at_10"] - low) * up,
        )
        for row in rows
    ]
    draw.rectangle((MARGIN, top, SIZE - MARGIN, bottom), outline="#bbbbbb")
    draw.text((MARGIN, top - 18), "recall@10 over milliseconds a query, by setting", fill="black")
    draw.text((4, top), "1", fill="black")
    draw.text((4, bottom - 10), f"{low:.3g}", fill="black")
    draw.text((MARGIN, bottom + 4), f"{min(times):.3g} ms", fill="black")
    draw.text((SIZE - MARGIN - 60, bottom + 4), f"{max(times):.3g} ms", fill="black")
    best = [points[n] for n in best_rows(rows)]
    if len(best) > 1:
        draw.line(best, fill=COLOURS[0], width=2)
    for row, (x, y) in zip(rows, points, strict=True):
        fill = COLOURS[1] if row["chosen"] else "white"
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=COLOURS[1], fill=fill)
        draw.text((x + 7, y + 3), str(row["setting"]), fill="black")
    image.save(path)
