"""CSV tables read strictly: every field of every row is accounted for, or an error names the row.

A reader that is lenient loses rows without a word: one stray quote makes a field of all lines up to
the next one. Here a quote encloses a whole field or is an error, and every row has as many fields
as the header. Rows are counted as a text editor counts lines, the header first.
"""

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# Longer marks first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Possessive: what is between two quotes is never tried in another way.
_QUOTED = r'[^"]*+(?:""[^"]*+)*+'
_LINE_END = re.compile(r"\r\n|\n|\r")
# What a program may write between fields; a table says so in its header, or in a line `sep=;`.
DELIMITERS = (",", ";", "\t")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}


class TableError(ValueError):
    """A text is no CSV table; the message begins with the row."""


@dataclass(frozen=True)
class Table:
    """A header and its rows.

    Attributes:
        columns: Names in the header, without blanks around them or as `parse_table` spelled them.
        rows: By column. Columns without a name are left out.
        numbers: Of each row, as a text editor counts lines: the first line of the file is 1.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    numbers: list[int]


def decode_table(content: bytes) -> str:
    """Return the text of a table in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.

    Raises:
        TableError: If it is in another encoding, or holds a NUL.
    """
    mark, encoding = next(
        ((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8")
    )
    body = content[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise TableError(f"not {encoding.upper()}, as its first bytes say ({error})") from error
        before = body[: error.start].decode()
        raise TableError(
            f"not UTF-8 in row {_count_lines(before) + 1} ({error.reason} "
            f"0x{body[error.start]:02x}); save the table as UTF-8"
        ) from error
    if "\0" in text:
        number = _count_lines(text[: text.index("\0")]) + 1
        raise TableError(f"row {number}: a NUL character, expected text in UTF-8")
    return text


def parse_table(
    text: str,
    needed: Sequence[str] = (),
    delimiters: Sequence[str] = ",",
    spell: Callable[[str], str] = str.strip,
) -> Table:
    """Parse a table.

    Args:
        text: A header and rows; lines end with LF, CR LF or CR. Empty lines are skipped.
        needed: Columns that it must have.
        delimiters: What may stand between fields. Several are for tables that people make: a first
            line `sep=;` decides, else the one with which the header has the needed columns, and
            rows of blank fields, which spreadsheets leave, are empty lines.
        spell: Returns the name that a name in the header means.

    Raises:
        TableError: If a quote is unbalanced or stands inside a field, a quoted field holds whole
            rows, a row has more or fewer fields than the header, a column is missing or named
            twice.
    """
    first, by_hand = 1, len(delimiters) > 1
    if by_hand and (said := re.match(r'"?sep=(.)"?(\r\n|\n|\r|\Z)', text, re.I)):
        delimiters, text, first = (said[1],), text[said.end() :], 2
    mark = _find_delimiter(text, needed, delimiters, first, spell)
    records = _records(text, mark, first, keep_blank=not by_hand)
    line, names = next(records, (first, []))
    columns = [spell(name) for name in names]
    if lacking := " or ".join(sorted(set(needed) - set(columns))):
        found = f", found {', '.join(columns)}" if columns else ""
        raise TableError(f"no column {lacking}{found}")
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise TableError(f"row {line}: column {', '.join(twice)} stands in the header twice")
    table = Table(tuple(columns), [], [])
    for line, fields in records:
        if len(fields) != len(columns):
            raise TableError(
                f"row {line}: {len(fields)} fields, expected {len(columns)} as in the header "
                f"({_NAMES.get(mark, mark)} between fields; a field that holds one needs quotes)"
            )
        row = dict(zip(columns, fields, strict=True))
        row.pop("", None)
        table.rows.append(row)
        table.numbers.append(line)
    return table


def _find_delimiter(
    text: str,
    needed: Sequence[str],
    delimiters: Sequence[str],
    first: int,
    spell: Callable[[str], str],
) -> str:
    """Return the first delimiter with which the header has the needed columns, else the first."""
    for mark in delimiters:
        try:
            _, names = next(_records(text, mark, first, keep_blank=False), (first, []))
        except TableError:
            continue
        if set(needed) <= {spell(name) for name in names}:
            return mark
    return max(delimiters, key=_first_line(text).count)


def _records(text: str, mark: str, first: int, keep_blank: bool) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's fields and the line that it begins on, with or without blank ones."""
    for line, fields in _parse_records(text, mark, first):
        if keep_blank or any(field.strip() for field in fields):
            yield line, fields


def _parse_records(text: str, mark: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's fields and the line that it begins on."""
    if '"' not in text:
        for line, content in enumerate(_LINE_END.split(text), start=first):
            if content:
                yield line, content.split(mark)
        return
    field = re.compile(
        rf'(?:"({_QUOTED})"|([^"{re.escape(mark)}\r\n]*))({re.escape(mark)}|\r\n|\n|\r|\Z)'
    )
    begin, line, fields, place = first, first, list[str](), 0
    num_columns = 0
    while place < len(text):
        found = field.match(text, place)
        if found is None:
            raise TableError(_explain_quote(text, place, mark, line))
        quoted, plain, end = found.groups()
        if quoted is not None:
            _check_lines(quoted, mark, num_columns, line)
            line += _count_lines(quoted)
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        place = found.end()
        if end == mark and place < len(text):
            continue
        if end == mark:  # the last line ends with a delimiter: its last field is empty
            fields.append("")
        if fields != [""] or quoted is not None:
            num_columns = num_columns or len(fields)
            yield begin, fields
        line += end != mark
        begin, fields = line, []


def _explain_quote(text: str, place: int, mark: str, line: int) -> str:
    """Return why no field begins at a place."""
    if text[place] != '"':
        return f'row {line}: a quote (") inside a field, expected quotes around the whole field'
    closed = re.compile(rf'"{_QUOTED}"').match(text, place)
    if closed is None:
        return f'row {line}: a quote (") opens a field and none closes it'
    line += _count_lines(closed[0])
    name = _NAMES.get(mark, mark)
    return (
        f'row {line}: text behind a closing quote ("), expected a {name} or the end of the line; '
        'a quote inside a quoted field is written ""'
    )


def _check_lines(quoted: str, mark: str, num_columns: int, line: int) -> None:
    """Refuse a quoted field that holds whole rows: two stray quotes enclose them."""
    pieces = _LINE_END.split(quoted)
    if num_columns > 1 and any(piece.count(mark) >= num_columns - 1 for piece in pieces[1:]):
        raise TableError(
            f'row {line}: a quote (") opens a field that goes on to row {line + len(pieces) - 1} '
            "over what looks like rows, expected it to end before them"
        )


def _first_line(text: str) -> str:
    return next((line for line in _LINE_END.split(text) if line), "")


def _count_lines(text: str) -> int:
    return sum(1 for _ in _LINE_END.finditer(text))
