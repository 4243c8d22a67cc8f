"""Pages from the templates beside this file, and their tables, as HTML and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

# Name of that baseline's row.
MAJORITY = "always the most frequent emotion"
# Shown where there is no value.
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
        num_names: Number of leading columns that hold words; the others hold numbers.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    num_names: int = 1

    @classmethod
    def from_rows(
        cls, caption: str, rows: Sequence[Mapping[str, str]], num_names: int = 1
    ) -> "Table":
        """Return a table of rows by column name; where a row lacks a column, it shows a dash."""
        header = tuple(dict.fromkeys(name for row in rows for name in row))
        cells = as_cells([row.get(name, DASH) for name in header] for row in rows)
        return cls(caption, header, cells, num_names)

    def to_markdown(self) -> str:
        """Return the table as Markdown, its caption above."""
        ruler = ["---" if i < self.num_names else "--:" for i in range(len(self.header))]
        lines = [_markdown_row(self.header), _markdown_row(ruler)]
        for row in self.rows:
            lines.append(_markdown_row(f"**{c.text}**" if c.is_best else c.text for c in row))
        return f"{self.caption}\n\n" + "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def bar(score: float, is_best: bool = False) -> Cell:
    """Return the cell of a score, 0..1, filled in proportion."""
    return Cell(f"{score:.3f}", share=score, is_best=is_best)


def as_cells(rows: Iterable[Sequence[str]]) -> tuple[tuple[Cell, ...], ...]:
    """Return rows of text as cells without bars."""
    return tuple(tuple(Cell(text) for text in row) for row in rows)


def duration(seconds: float) -> str:
    """Return a time in seconds as text, in s, min or h.

    Example:
        >>> duration(34.2), duration(754.0), duration(9612.0)
        ('34.2 s', '12.6 min', '2.67 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"


def render(template: str, **values: Any) -> str:
    """Return a filled-in template; values are escaped, unless they are `markupsafe.Markup`."""
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("serct", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
