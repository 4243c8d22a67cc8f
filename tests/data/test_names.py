"""One person is one speaker, however the name is spelled."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serct.config.spelling import fold
from serct.data.manifest import Utterance
from serct.data.names import describe_names, unify_names
from serct.data.split_checks import check_splits
from serct.data.splitting import split_utterances
from serct.errors import ManifestError
from tests.data.test_splitting import corpus, params, utterance

NFC, NFD = (unicodedata.normalize(form, "Jörg") for form in ("NFC", "NFD"))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=8), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_spellings_of_a_name_fold_to_one(name: str, form: str) -> None:
    folded = fold(name)
    assert fold(folded) == folded
    assert fold(unicodedata.normalize(form, name)) == folded  # type: ignore[arg-type]
    assert fold(f"  {name}\u00a0") == folded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "anna"), (NFC, NFD), ("Anna Maria", " anna\u2003 MARIA"), ("Anna", "Ａｎｎａ"),
        ("Straße", "STRASSE"), ("ΣΟΦΟΣ", "σοφος"), ("An\u200bna", "Anna"), ("ﬁona", "Fiona"),
    ],
)  # fmt: skip
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("spk1", "spk01"), ("anna", "anna_"), ("Zoë", "Zoe"), ("IŞIK", "ışık")]
)
def test_names_nearly_alike_are_two_and_named(one: str, other: str) -> None:
    assert fold(one) != fold(other)
    rows = [utterance(0, "sad", one), utterance(1, "sad", other), utterance(2, "sad", "spk10")]
    assert [u.speaker for u in unify_names(rows)] == [one, other, "spk10"]
    (warning,) = describe_names(rows)
    assert warning.startswith("speakers ")
    assert repr(one) in warning
    assert repr(other) in warning
    assert warning.endswith("taken as 2 people; if they are one, spell them alike")


def spelled(names: Sequence[str]) -> list[Utterance]:
    """Return a corpus of four speakers, each spelled in two ways."""
    return [
        replace(u, speaker=names[2 * (n % 4) + n // 4 % 2], text_id=("Door", "door ")[n % 2])
        for n, u in enumerate(corpus(40))
    ]


def test_one_spelling_is_kept_and_the_others_are_named() -> None:
    rows = spelled([NFC, NFD, "Anna", "anna", "ben", "BEN", "zoë", "Zoë"])
    rows.append(utterance(999, "sad", "anna", "door "))
    unified = unify_names(rows)
    assert {u.speaker for u in unified} == {NFC, "anna", "BEN", "Zoë"}
    assert {u.text_id for u in unified} == {"door "}
    assert unify_names(unified) == unified
    assert describe_names(rows) == [
        "speaker 'anna' and 'Anna': taken as one, named 'anna' in the manifest",
        "speaker 'BEN' and 'ben': taken as one, named 'BEN' in the manifest",
        f"speaker 'J\\xf6rg' and 'Jo\\u0308rg': taken as one, named '{NFC}' in the manifest",
        "speaker 'Zoë' and 'zoë': taken as one, named 'Zoë' in the manifest",
        "text 'door ' and 'Door': taken as one, named 'door ' in the manifest",
    ]
    assert describe_names(unified) == []


def test_what_programs_write_into_an_empty_cell_is_named() -> None:
    rows = [utterance(n, "sad", name, "t") for n, name in enumerate(["NA", "NaN", "nan", "Nadia"])]
    alike = "speaker 'NaN' and 'nan'"
    meaning = "taken as a name; if it means that none is known, leave it empty"
    assert describe_names(rows) == [
        f"{alike}: taken as one, named 'NaN' in the manifest",
        f"speaker 'NA': {meaning}",
        f"{alike}: {meaning}",
    ]


@pytest.mark.parametrize("num_folds", [None, 4])
def test_a_person_stands_on_one_side(num_folds: int | None) -> None:
    rows = spelled([NFC, NFD, "Anna", "anna", "ben", "BEN", "zoë", "Zoë"])
    divided = split_utterances(rows, params("speaker", num_folds), seed=3)
    sides = {(fold(u.speaker), u.split == "test") for u in divided}
    assert len(sides) == 4
    assert len({u.speaker for u in divided}) == 4


def test_the_leak_check_compares_letters() -> None:
    divided = split_utterances(corpus(50), params("speaker"), 3)
    leak = [replace(u, speaker=NFD if u.split == "test" else NFC) for u in divided]
    with pytest.raises(ManifestError, match=f"{NFD} alias {NFC} in both test and train"):
        check_splits(leak, "speaker")
