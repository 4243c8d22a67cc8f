"""What decides a result is the statements of the code that computes it."""

import textwrap

from hypothesis import given
from hypothesis import strategies as st

from serct.runtime.source import code_digests, plain_source

_PROGRAM = b'''#!/usr/bin/env python
"""A module."""

import os  # needed


class Tess:
    """A class."""

    title, year = "TESS", 2020
    licence = "CC BY"
    citation = (
        "Somebody. "
        "Somewhere."
    )

    def speak(self) -> str:
        """Say it."""
        text = """not a
        # docstring"""
        return text + "# no comment"
'''


def test_only_statements_are_left_of_a_program() -> None:
    assert plain_source(_PROGRAM) == textwrap.dedent(
        '''\
        import os
        class Tess:
            title, year = "TESS", 2020
            def speak(self) -> str:
                text = """not a
                # docstring"""
                return text + "# no comment"'''
    )


@given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=20))
def test_no_comment_and_no_docstring_changes_anything(words: str) -> None:
    quoted = repr("Ü" + words).encode()
    program = b"def f():\n    " + quoted + b"\n    x = " + quoted + b"  # " + words.encode()
    assert plain_source(program) == f"def f():\n    x = {quoted.decode()}"


def test_a_model_of_somebody_else_has_a_digest_too() -> None:
    digests = code_digests(["textwrap"], spared=())
    assert list(digests) == ["textwrap"]
