"""The section of the page where people enrol themselves, so that the model adapts to them."""

from typing import Any

import streamlit as st

from serct.app.client import Client
from serct.app.recordings import speak, upload_files
from serct.errors import SerctError, UnknownSpeakerError

# In the session of one browser tab: the service's response, and which files it has had.
SPEAKER, _SENT = "speaker", "files_of_speaker"

_HELP = """
How you sound on average is not an emotion. Give the model a few recordings of yourself in **several
moods** (at least three, ten recordings in all help most), without saying which is which. It then
predicts how far a recording departs from *your* average. Recordings of one mood alone would make
that mood your normal one. The service keeps sums of numbers in memory, and no recording; it forgets
them after a while.
"""


def enrolled_speaker(client: Client, model: dict[str, Any]) -> str | None:
    """Show the section, if the model adapts to speakers.

    Args:
        client: Of the service.
        model: The model in use, as the service describes it.

    Returns:
        The id of the enrolled speaker; None without one.
    """
    if not model["adapts_to_speaker"]:
        return None
    speaker = st.session_state.get(SPEAKER)
    if speaker is not None and speaker["model"]["fingerprint"] != model["fingerprint"]:
        forget(SerctError("The model was replaced: enrol again."))
    with st.expander("Make it yours", expanded=SPEAKER in st.session_state):
        st.markdown(_HELP)
        _enrol(client)
        _show(client)
    found = st.session_state.get(SPEAKER)
    return str(found["id"]) if found else None


def _enrol(client: Client) -> None:
    files = list(upload_files("Recordings of you"))
    if spoken := speak("Or say a sentence in some mood, and another in the next"):
        files.append(spoken)
    sent = st.session_state.get(_SENT, frozenset())
    new = [file for file in files if file.file_id not in sent]
    if not st.button("Adapt to me", disabled=not new):
        return
    known = st.session_state.get(SPEAKER)
    try:
        with st.spinner("Adapting..."):
            found = client.enrol(
                [(file.name, file.getvalue()) for file in new], known["id"] if known else None
            )
    except UnknownSpeakerError as error:
        forget(error)
        return
    except SerctError as error:
        st.error(str(error))
        return
    st.session_state[SPEAKER] = found
    st.session_state[_SENT] = sent | {file.file_id for file in new}
    st.rerun()  # the button above is for what comes next


def _show(client: Client) -> None:
    speaker = st.session_state.get(SPEAKER)
    if speaker is None:
        return
    st.success(
        f"The model adapts to you: {speaker['recordings']} recordings, "
        f"{speaker['speech_s']:.1f} s of speech. Predict a recording below to compare."
    )
    if speaker["warning"]:
        st.warning(speaker["warning"])
    if st.button("Forget me"):
        client.forget(speaker["id"])
        _clear()
        st.rerun()


def forget(reason: SerctError) -> None:
    """Forget a speaker whom the service does not know, and say why."""
    st.warning(str(reason))
    _clear()


def _clear() -> None:
    for key in (SPEAKER, _SENT):
        st.session_state.pop(key, None)
