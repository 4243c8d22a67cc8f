"""The demonstrator's page, run by Streamlit: a client of the service, as anyone's could be."""

import os
import tempfile
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from serct.app.client import Client
from serct.app.pictures import decode, timeline_figure
from serct.errors import SerctError

SERVICE, API_KEY = "SERCT_SERVICE", "SERCT_API_KEY"

_NOTICE = """
**What this can tell:** how speech *sounds*, that is which of a few acted emotions it is most like.

**What it cannot:** what somebody feels, or whether they lie. It learned from actors; other voices,
languages, rooms and microphones lower what it is worth. Do not use it to decide about people.
Recordings go to the service and are not kept.
"""
_WORKFLOW = """
digraph {
  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];
  sound [label="sound,\\n16,000 samples/s"]; speech [label="is it speech?\\nvoice activity"];
  cnn [label="convolutions:\\nframes of 20 ms"]; transformer [label="deformable\\ntransformer"];
  mean [label="mean over\\nframes"]; told [label="probabilities,\\ncalibrated"];
  sound -> speech -> cnn -> transformer -> mean -> told; speech -> "no speech" [style=dashed];
  told -> "uncertain" [style=dashed];
}
"""


def main() -> None:
    """Show the page."""
    st.set_page_config("SERCT", page_icon="🎙️", layout="wide")
    st.title("Emotion in speech")
    client = Client(os.environ[SERVICE], os.environ.get(API_KEY))
    try:
        ready, versions = client.ready(), client.versions()
    except SerctError as error:
        st.error(str(error))
        return
    st.info(_NOTICE)
    if ready["model"] is None:
        st.error(f"There is no model yet: {ready['problem'] or 'it is being loaded'}")
        return
    other = _sidebar(client, ready, versions)
    with st.expander("How it works"):
        st.graphviz_chart(_WORKFLOW)
    chosen = _choose(ready["model"]["language"])
    if chosen is None:
        return
    name, content = chosen
    st.audio(content)
    if st.button("Tell the emotion", type="primary"):
        try:
            _show(client, name, content, other)
        except SerctError as error:
            st.error(str(error))


def _sidebar(client: Client, ready: dict[str, Any], versions: list[dict[str, Any]]) -> str | None:
    model = ready["model"]
    st.sidebar.header("Model")
    st.sidebar.markdown(
        f"**{_title(model)}**, trained on `{model['corpus']}` ({model['language']})"
    )
    if model["synthetic"]:
        st.sidebar.warning("Trained on synthetic speech: it says nothing about people.")
    if ready["problem"]:
        st.sidebar.warning(f"The registry's choice cannot be used: {ready['problem']}")
    st.sidebar.caption(f"Service: {client.url}")
    others = [each for each in versions if each["version"] != model["version"]]
    labels = {each["version"]: f"version {each['version']}, {each['name']}" for each in others}
    chosen: str | None = st.sidebar.selectbox(
        "Compare with",
        [None, *labels],
        format_func=lambda version: labels[version] if version else "nothing",
    )
    return chosen


def _choose(language: str) -> tuple[str, bytes] | None:
    """Let people choose a recording; gives its name and content."""
    kinds = ("A sample", "A file of mine", "My microphone")
    kind = st.radio("What shall it hear?", kinds, horizontal=True)
    if kind == kinds[0]:
        samples = _samples(language)
        emotion = st.selectbox("Sample (synthetic speech, meant as)", list(samples))
        return f"{emotion}.wav", samples[emotion]
    if kind == kinds[1]:
        file = st.file_uploader(
            "Speech, up to a minute", type=["wav", "flac", "ogg", "mp3", "aiff", "aif"]
        )
    else:
        file = st.audio_input("Say something, for some seconds")
    return (file.name, file.getvalue()) if file else None


@st.cache_data
def _samples(language: str) -> dict[str, bytes]:
    from serct.data.corpora import demo

    spoken = language if language in demo.SENTENCES else "en"
    with tempfile.TemporaryDirectory() as folder:
        files = demo.speak_examples(Path(folder), spoken)
        return {emotion: path.read_bytes() for emotion, path in files.items()}


def _show(client: Client, name: str, content: bytes, other: str | None) -> None:
    with st.spinner("Listening..."):
        answers = [client.predict(name, content)]
        if other:
            answers.append(client.predict(name, content, other))
        timeline = client.segments(name, content)
    columns = st.columns(len(answers))
    for column, answer in zip(columns, answers, strict=True):
        with column:
            _show_answer(answer)
    st.subheader("Along the recording")
    emotions = list(answers[0]["predictions"][0]["probabilities"] or ())
    waveform, rate_hz = decode(content, name)
    st.pyplot(timeline_figure(waveform, rate_hz, timeline["segments"], emotions))
    with st.expander("The same as a table"):
        st.dataframe(
            [
                {
                    "from, s": each["start_s"],
                    "to, s": each["end_s"],
                    "heard": each["emotion"],
                    "probability": each["confidence"],
                }
                for each in timeline["segments"]
            ],
            hide_index=True,
        )


def _show_answer(answer: dict[str, Any]) -> None:
    (told,) = answer["predictions"]
    probabilities = told["probabilities"]
    heading = told["emotion"].replace("_", " ")
    if told["confidence"] is not None and heading != "uncertain":
        heading += f" ({told['confidence']:.0%})"
    st.subheader(f"Heard: {heading}")
    st.caption(
        f"Answered by {_title(answer['model'])}. Heard {told['heard_s']:.1f} of "
        f"{told['duration_s']:.1f} s, {told['speech_s']:.1f} s of it speech."
    )
    if heading == "uncertain":
        st.warning("No emotion is probable enough for an answer; these are its guesses.")
    if probabilities is None:
        st.warning("There is no speech in this recording, so no emotion is told.")
        return
    table = pd.DataFrame({"emotion": list(probabilities), "probability": probabilities.values()})
    bars = alt.Chart(table).encode(
        x=alt.X(
            "probability",
            scale=alt.Scale(domain=(0, 1)),
            axis=alt.Axis(format="%", values=[0, 0.2, 0.4, 0.6, 0.8, 1]),
        ),
        y=alt.Y("emotion", sort=None, title=None),
    )
    labels = bars.mark_text(align="left", dx=4).encode(text=alt.Text("probability", format=".1%"))
    st.altair_chart((bars.mark_bar() + labels).properties(height=34 * len(table)))


def _title(model: dict[str, Any]) -> str:
    version = f"version {model['version']}" if model["version"] else "a folder"
    return f"{model['name']}, {version}"


if __name__ == "__main__":
    main()
