"""The section of the page where a recording is chosen: a sample, a file or the microphone."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from serct.runtime.loopback import is_loopback


def choose_recording(language: str) -> tuple[str, bytes] | None:
    """Show the choice of a recording.

    Args:
        language: Of the samples, if there are any in it.

    Returns:
        Its name and content; None until there is one.
    """
    kinds = ("A sample", "Your file", "Your microphone")
    kind = st.radio("Recording", kinds, horizontal=True)
    if kind == kinds[0]:
        samples = _samples(language)
        emotion = st.selectbox("Emotion of the sample (synthetic speech)", list(samples))
        return f"{emotion}.wav", samples[emotion]
    if kind == kinds[1]:
        file = st.file_uploader("A file with speech")  # any, see `upload_files`
    else:
        file = speak("Speak for a few seconds")
    return (file.name, file.getvalue()) if file else None


def upload_files(label: str) -> Sequence[Any]:
    """Show a place for files of any kind and return them.

    The service decides by their content and says what is wrong. A place for some kinds alone would
    refuse a file without a word to the page, which would still show the result of the one before.
    """
    return list(st.file_uploader(label, accept_multiple_files=True))


def speak(label: str) -> Any:
    """Show the recorder, or why there is no microphone; return what was recorded, or None."""
    if problem := microphone_problem(st.context.url):
        st.warning(problem)
        return None
    return st.audio_input(label)


def microphone_problem(url: str | None) -> str | None:
    """Return why a browser gives a page no microphone; None if it should.

    Args:
        url: Of the page, as the browser has it; None if that is not known.

    Source:
        W3C, Media Capture and Streams, section 10.1 (secure contexts).
    """
    if url is None or urlsplit(url).scheme == "https" or is_loopback(url):
        return None
    address = urlsplit(url)
    return (
        f"Browsers give a page the microphone only over HTTPS or on localhost, and this page came "
        f"from {address.scheme}://{address.netloc}. Put a proxy with TLS in front of it, or open "
        "it on the machine where it runs, as http://localhost. Files work here as well."
    )


@st.cache_data
def _samples(language: str) -> dict[str, bytes]:
    from serct.data.corpora import demo

    supported = language if language in demo.SENTENCES else "en"
    with tempfile.TemporaryDirectory() as folder:
        files = demo.speak_examples(Path(folder), supported)
        return {emotion: path.read_bytes() for emotion, path in files.items()}
