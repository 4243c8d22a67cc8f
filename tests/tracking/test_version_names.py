"""A name means one version or is an error that says what there is."""

import pytest

from serct.errors import UnknownVersionError
from serct.tracking.version_names import find_number


def tags(model: str, corpus: str, fingerprint: str, weights: str) -> dict[str, str]:
    return {"model": model, "corpus": corpus, "fingerprint": fingerprint, "weights": weights}


VERSIONS = {
    "1": tags("serct", "tess", "4f2a91c2d0", "aa11"),
    "2": tags("svm", "tess", "1234567890", "bb22"),
    "3": tags("svm", "tess", "7777777777", "cc33"),
    "4": tags("cnn", "tess", "7777777777", "cc44"),
    "5": {},
    "1234": tags("cnn", "emodb", "e0e0e0e0e0", "dd55"),
}
ALIASES = {"champion": "2", "abcd": "3"}


@pytest.mark.parametrize(
    ("which", "number"),
    [
        ("1", "1"), ("5", "5"), ("@champion", "2"), ("champion", "2"), ("abcd", "3"),
        ("serct-tess", "1"), ("tess-serct", "1"), ("cnn-emodb", "1234"),
        ("4f2a", "1"), ("4f2a91c", "1"), ("cc33", "3"), ("cc44", "4"),
        ("1234", "1234"), ("12345", "2"),
    ],
)  # fmt: skip
def test_what_stands_for_one_version(which: str, number: str) -> None:
    assert find_number("serct", which, VERSIONS, ALIASES) == number


@pytest.mark.parametrize(
    "which", ["", "@", "6", "@challenger", "serct", "tess", "serct_tess", "4f2", "f2a9", "-", "1 "]
)
def test_what_stands_for_none(which: str) -> None:
    expected = (
        r"'serct' has no '.*', it has version 1 \(serct on tess, 4f2a91c\), version 2 \(svm on "
        r"tess, 1234567, @champion\), .* version 5 \(not registered by serct\), version 1234 "
    )
    with pytest.raises(UnknownVersionError, match=expected):
        find_number("serct", which, VERSIONS, ALIASES)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("svm-tess", r"version 2 \(svm on tess, 1234567, weights bb22\), version 3 \(svm on "),
        ("7777777", r"version 3 \(svm .* weights cc33\), version 4 \(cnn .* weights cc44\); exp"),
    ],
)
def test_what_stands_for_several(which: str, expected: str) -> None:
    with pytest.raises(UnknownVersionError, match=f"has 2 versions '{which}': {expected}"):
        find_number("serct", which, VERSIONS, ALIASES)


def test_of_many_versions_the_newest_are_listed() -> None:
    many = {str(n): tags("cnn", "tess", f"{n:064x}", "") for n in range(1, 31)}
    with pytest.raises(UnknownVersionError) as error:
        find_number("serct", "x", many, {})
    assert str(error.value).count("cnn on tess") == 10
    assert str(error.value).endswith(
        "version 30 (cnn on tess, 0000000), and 20 older, see `serct models`"
    )
