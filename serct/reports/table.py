"""A table of a page: built once, shown as HTML and as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What the row of that baseline is called.
MAJORITY = "always the most frequent emotion"
# Stands where there is no value.
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: As shown.
        share: 0..1, how far the cell is filled as a bar; None for no bar.
        is_best: Whether it is the best of its column.
    """

    text: str
    share: float | None = None
    is_best: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, a header and rows whose first cell names the row.

    Attributes:
        num_names: So many leading columns hold words; the others hold numbers.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    num_names: int = 1

    def to_markdown(self) -> str:
        """Give the table as Markdown, its caption above."""
        ruler = ["---" if i < self.num_names else "--:" for i in range(len(self.header))]
        lines = [_markdown_row(self.header), _markdown_row(ruler)]
        for row in self.rows:
            lines.append(_markdown_row(f"**{c.text}**" if c.is_best else c.text for c in row))
        return f"{self.caption}\n\n" + "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def bar(score: float, is_best: bool = False) -> Cell:
    """Give the cell of a score, 0..1, filled as far."""
    return Cell(f"{score:.3f}", share=score, is_best=is_best)


def as_cells(rows: Iterable[Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    """Give rows of text as a table holds them."""
    return tuple(tuple(Cell(text) for text in row) for row in rows)


def duration(seconds: float) -> str:
    """Give a time in the unit that suits it.

    Example:
        >>> duration(34.2), duration(754.0), duration(9612.0)
        ('34.2 s', '12.6 min', '2.67 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"
