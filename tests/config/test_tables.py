"""Tables: what any program writes is read whole; what lost a quote or a field is refused by row."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serct.config.files import as_csv, read_rows
from serct.config.tables import DELIMITERS, Table, TableError, decode_table, parse_table
from serct.errors import ReportError

FIELDS = st.text(st.sampled_from('ab"\n\r,; ü\t'), max_size=6)


@st.composite
def grids(
    draw: st.DrawFn, fields: st.SearchStrategy[str] = FIELDS, min_rows: int = 0
) -> list[list[str]]:
    """A header of distinct names and rows of any fields."""
    width = draw(st.integers(2, 4))
    rows = draw(
        st.lists(st.lists(fields, min_size=width, max_size=width), min_size=min_rows, max_size=5)
    )
    return [[f"c{n}" for n in range(width)], *rows]


def written(grid: list[list[str]], quoting: int = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=quoting).writerows(grid)  # type: ignore[arg-type]
    return buffer.getvalue()


def written_here(grid: list[list[str]]) -> str:
    return as_csv((dict(zip(grid[0], row, strict=True)) for row in grid[1:]), grid[0])


def cells(table: Table) -> list[list[str]]:
    return [list(table.columns), *(list(row.values()) for row in table.rows)]


def looks_like_rows(grid: list[list[str]]) -> bool:
    later = [line for row in grid for each in row for line in re.split("\r\n|\n|\r", each)[1:]]
    return any(line.count(",") >= len(grid[0]) - 1 for line in later)


@settings(max_examples=50, deadline=None)
@given(grids(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, None]))
def test_what_a_csv_writer_writes_is_read_back(grid: list[list[str]], quoting: int | None) -> None:
    text = written_here(grid) if quoting is None else written(grid, quoting)
    if looks_like_rows(grid):
        with pytest.raises(TableError, match="over what looks like rows"):
            parse_table(text)
    else:
        assert cells(parse_table(text)) == grid


@settings(max_examples=50, deadline=None)
@given(grids(), st.data())
def test_a_table_without_one_of_its_quotes_is_refused(
    grid: list[list[str]], data: st.DataObject
) -> None:
    text = written(grid)
    places = [place for place, char in enumerate(text) if char == '"']
    assume(places)
    place = data.draw(st.sampled_from(places))
    with pytest.raises(TableError, match=r"^row \d+: "):
        parse_table(text[:place] + text[place + 1 :])


@settings(max_examples=50, deadline=None)
@given(grids(st.text(st.sampled_from('ab",; ü'), max_size=6), 1), st.data())
def test_a_row_without_one_of_its_fields_is_refused(
    grid: list[list[str]], data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, len(grid) - 1))
    short = [row[:-1] if place == number else row for place, row in enumerate(grid)]
    # One empty field alone is an empty line, which is none.
    assume(short[number] != [""])
    message = f"^row {number + 1}: {len(short[number])} fields, expected {len(grid[0])}"
    with pytest.raises(TableError, match=message):
        parse_table(written(short))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n', 'row 3: a quote (") opens a field and none closes it'),
        ('a,b\n1,2"\n', 'row 2: a quote (") inside a field, expected quotes around the'),
        ('a,b\r\n\r\n1,"x\r\ny"z\r\n', 'row 4: text behind a closing quote ("), expected a comma'),
        ('a,b\n"1,2\n3,4\n5",6\n', 'row 2: a quote (") opens a field that goes on to row 4 over'),
        ("a,b\n1,2,3\n", "row 2: 3 fields, expected 2 as in the header (comma between fields"),
        ("a,b\r1,2\r\r3\r", "row 4: 1 fields, expected 2"),
        ("a, a ,b\n", "row 1: column a stands in the header twice"),
        ("a,c\n1,2\n", "no column b, found a, c"),
        ("", "no column a or b"),
    ],
)
def test_the_error_names_the_row(text: str, message: str) -> None:
    with pytest.raises(TableError) as caught:
        parse_table(text, ["a", "b"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", DELIMITERS)
@pytest.mark.parametrize("said", [False, True])
def test_any_line_end_and_delimiter(end: str, mark: str, said: bool) -> None:
    lines = [f"sep={mark}"] * said + [f'a{mark} b{mark}""', f'1{mark}"x,;\t""y"{mark}7', ""]
    table = parse_table(end.join(lines), ["a", "b"], DELIMITERS)
    assert table.rows == [{"a": "1", "b": 'x,;\t"y'}]
    assert table.numbers == [2 + said]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_mark(encoding: str) -> None:
    assert decode_table("päth\n".encode(encoding)) == "päth\n"


def test_other_encodings_are_named_with_their_line() -> None:
    with pytest.raises(TableError, match=r"^not UTF-8 in row 3 \(invalid .* 0xfc\); save the"):
        decode_table("a\r\nb\r\nü\r\n".encode("latin-1") + b"x")
    with pytest.raises(TableError, match=r"^row 2: a NUL character, expected text in UTF-8"):
        decode_table(b"a\nb\0\n")
    with pytest.raises(TableError, match=r"^not UTF-16-LE, as its first bytes say"):
        decode_table(b"\xff\xfea")


def test_a_long_field_and_a_long_table_are_no_problem() -> None:
    text = "a,b\n" + 'x,"' + "y " * 200_000 + '"\n' + "1,2\n" * 50_000
    assert len(parse_table(text).rows) == 50_001
    with pytest.raises(TableError, match="none closes it"):
        parse_table(text + '1,"' + "2\n" * 100_000)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1\n")
    with pytest.raises(ReportError, match=r"rows\.csv: row 2: 1 fields, .*; score writes it"):
        read_rows(path, ["a"], "score writes it", ReportError)
    with pytest.raises(ReportError, match=r"none\.csv: no such file"):
        read_rows(tmp_path / "none.csv", ["a"], error=ReportError)
