"""The header and the tables of an audformat database, read by the package audformat.

Left to itself, the package opens ``db.<table>.pkl`` where there is one, and builds any object that
``db.yaml`` names: both run code that the file brings. So it gets a folder of its own, with a header
of plain values and with tables as parquet or CSV.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from serct.errors import BackendUnavailableError, CorpusError

HEADER = PurePosixPath("db.yaml")
# In the order of the package's choice. It would open .pkl before both.
_STORED_AS = (".parquet", ".csv")
_MISSING = "an audformat database needs the package audformat: pip install 'serct[audformat]'"
# Headers that describe thousands of speakers take seconds without the parser in C.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# Keys of the header.
_KINDS = ("misc_tables", "tables")


class Segment(NamedTuple):
    """What a row of a table is about: a file, or a part of one.

    Attributes:
        file: As listed.
        start_ns: Where the part begins, in ns.
        end_ns: Where it ends; None: where the file ends.
    """

    file: str
    start_ns: int = 0
    end_ns: int | None = None

    @property
    def whole_file(self) -> "Segment":
        """The file that it is a part of."""
        return Segment(self.file)

    def __str__(self) -> str:
        if self == self.whole_file:
            return self.file
        end = "the end" if self.end_ns is None else f"{self.end_ns / 1e9:.3f} s"
        return f"{self.file} from {self.start_ns / 1e9:.3f} s to {end}"


def read_header(root: Path) -> dict[str, Any]:
    """Read a database's header as plain values.

    Raises:
        CorpusError: If it is missing, not readable, or none of audformat.
    """
    path = root / HEADER
    try:
        header = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506  a safe one
    except FileNotFoundError as error:
        raise CorpusError(
            f"{path}: no such file, expected the header of an audformat database"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CorpusError(f"{path}: not readable: {error}") from error
    keys = ("name", "source", "usage")
    if not isinstance(header, dict) or any(key not in header for key in keys):
        raise CorpusError(f"{path}: not a header of audformat, expected the keys {', '.join(keys)}")
    if not all(isinstance(header.get(kind) or {}, dict) for kind in _KINDS):
        raise CorpusError(f"{path}: {' and '.join(_KINDS)} are not tables by name")
    for name in _table_names(header):
        # The package reads from wherever such a name leads.
        if not isinstance(name, str) or PurePosixPath(name).name != name or "\\" in name:
            raise CorpusError(f"{path}: {name!r} cannot name a table: it is part of a file's name")
    return header


def stored_tables(root: Path, header: Mapping[str, Any]) -> list[PurePosixPath]:
    """List the files of tables, relative to the folder: one each, parquet before CSV, no pickle."""
    found = []
    for name in _table_names(header):
        files = (PurePosixPath(f"db.{name}{suffix}") for suffix in _STORED_AS)
        found += [path for path in files if (root / path).is_file()][:1]
    return found


def _table_names(header: Mapping[str, Any]) -> list[str]:
    return [name for kind in _KINDS for name in header.get(kind) or {}]


def short_codes(languages: Iterable[str]) -> list[str]:
    """Return languages in two letters (ISO 639-1) where there are two, else in three.

    Raises:
        BackendUnavailableError: If the package audformat is not installed.
    """
    try:
        from iso639 import Lang
        from iso639.exceptions import InvalidLanguageValue
    except ImportError as error:
        # It comes with audformat.
        raise BackendUnavailableError(_MISSING) from error
    found = []
    for code in languages:
        try:
            language = Lang(code)
        except InvalidLanguageValue:
            found.append(str(code))
            continue
        # Mandarin has three letters alone; Chinese, which it is a part of, has "zh".
        whole = language.macro() or language
        found.append(language.pt1 or whole.pt1 or language.pt3)
    return found


@contextmanager
def open_database(root: Path) -> "Iterator[AudformatTables]":
    """Open a database for as long as the block lasts; tables are read when they are asked for.

    Raises:
        CorpusError: As `read_header`, or if the package refuses the header.
        BackendUnavailableError: If the package is not installed.
    """
    try:
        import audformat
    except ImportError as error:
        raise BackendUnavailableError(_MISSING) from error
    header = read_header(root)
    with TemporaryDirectory(prefix="serct-audformat-") as name:
        folder = Path(name)
        text = yaml.dump(header, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
        (folder / HEADER).write_text(text, encoding="utf-8")
        for path in stored_tables(root, header):
            shutil.copyfile(root / path, folder / path)
        try:
            database = audformat.Database.load(str(folder))
        except Exception as error:
            # Whatever the package trips over, the header is what is wrong.
            raise CorpusError(f"{root / HEADER}: not a header of audformat: {error}") from error
        yield AudformatTables(root, database)


class AudformatTables:
    """The tables of an open database that list files or parts of files."""

    def __init__(self, root: Path, database: Any) -> None:
        self.root = root
        self._database = database

    @property
    def names(self) -> list[str]:
        """Their names, in the header's order."""
        return list(self._database.tables)

    def columns(self, table: str, meaning: str) -> list[str]:
        """Return the columns of a table that are named so, else those of the scheme named so."""
        columns = self._database[table].columns
        return [meaning] if meaning in columns else [
            name for name, column in columns.items() if column.scheme_id == meaning
        ]  # fmt: skip

    def dtype(self, table: str, column: str) -> str:
        """Return audformat's type of a column's values; "object" for a column without scheme."""
        scheme = self._scheme(table, column)
        return "object" if scheme is None else str(scheme.dtype)

    def split(self, table: str) -> tuple[str | None, str | None]:
        """Return the name of the split that a table is, and its type; None for none."""
        name = self._database[table].split_id
        return name, None if name is None else self._database.splits[name].type

    def segments(self, table: str) -> list[Segment]:
        """Return what the rows of a table are about.

        Raises:
            CorpusError: As `values`.
        """
        with self._reading(table):
            return [_segment(each) for each in self._database[table].index]

    def values(self, table: str, column: str, key: str | None = None) -> dict[Segment, Any]:
        """Return a column's values, None where there is none.

        Args:
            table: Its table.
            column: Its name.
            key: What to return of each label in place of its name, such as a speaker's gender.

        Raises:
            CorpusError: If the table is stored as a pickle alone, or not readable.
        """
        with self._reading(table):
            found = self._database[table][column].get(map=key)
            return {
                _segment(each): None if absent else value
                for each, value, absent in zip(found.index, found, found.isna(), strict=True)
            }

    @contextmanager
    def _reading(self, table: str) -> Iterator[None]:
        where = f"{self.root}: table {table}"
        names = [self.root / f"db.{table}{suffix}" for suffix in _STORED_AS]
        if not any(path.is_file() for path in names):
            raise CorpusError(
                f"{where}: no {' and no '.join(path.name for path in names)}; a pickle (.pkl) is "
                "never read: save the database with the package audformat as parquet or CSV"
            )
        try:
            yield
        except Exception as error:
            # Whatever the package trips over, the table is what is wrong.
            raise CorpusError(f"{where}: not readable: {error}") from error

    def describes(self, table: str, column: str, key: str) -> bool:
        """Return whether the labels of a column have a key, such as the gender of speakers."""
        scheme = self._scheme(table, column)
        labels = None if scheme is None else scheme.labels
        if isinstance(labels, str):
            return key in self._database[labels].columns
        known = labels.values() if isinstance(labels, dict) else ()
        return any(isinstance(label, dict) and key in label for label in known)

    def _scheme(self, table: str, column: str) -> Any:
        name = self._database[table][column].scheme_id
        return None if name is None else self._database.schemes[name]


def _segment(entry: Any) -> Segment:
    """Return what an entry of a table's index means: a file, or file, start and end.

    Raises:
        ValueError: If it names no file.
    """
    file, start, end = entry if isinstance(entry, tuple) else (entry, None, None)
    if not isinstance(file, str):
        raise ValueError("a row names no file")
    path = str(PurePosixPath(file))
    if start is None:
        return Segment(path)
    # The missing time of pandas is not equal to itself.
    return Segment(path, start.value, end.value if end == end else None)
