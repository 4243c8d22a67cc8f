"""The page of the demonstrator, run by Streamlit; it only uses the public HTTP routes."""

import os
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from serct.app.client import Client
from serct.app.pictures import decode, timeline_figure
from serct.app.recordings import choose_recording
from serct.app.yours import enrolled_speaker, forget
from serct.errors import SerctError, UnknownSpeakerError

SERVICE, API_KEY = "SERCT_SERVICE", "SERCT_API_KEY"

_NOTICE = """
**What it predicts:** how speech *sounds*: which of a few acted emotions it is most similar to.

**What it does not predict:** what a person feels, or whether they lie. The model was trained with
actors; with other speakers, languages, rooms and microphones it makes more errors. Do not use it to
make decisions about people. The service does not keep recordings.
"""
_WORKFLOW = """
digraph {
  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];
  waveform [label="waveform,\\n16,000 samples/s"]; speech [label="is it speech?\\nvoice activity"];
  cnn [label="convolutions:\\nframes of 20 ms"]; transformer [label="deformable\\ntransformer"];
  mean [label="mean over\\nframes"]; probabilities [label="probabilities,\\ncalibrated"];
  waveform -> speech -> cnn -> transformer -> mean -> probabilities;
  speech -> "no speech" [style=dashed]; probabilities -> "uncertain" [style=dashed];
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
        st.error(f"There is no model yet: {ready['problem'] or 'it is loading'}")
        return
    other = _sidebar(client, ready, versions)
    with st.expander("How it works"):
        st.graphviz_chart(_WORKFLOW)
    speaker = enrolled_speaker(client, ready["model"])
    chosen = choose_recording(ready["model"]["language"])
    if chosen is None:
        return
    name, content = chosen
    st.audio(content)
    explain = st.checkbox("Show which parts the prediction depends on (takes longer)")
    if st.button("Predict the emotion", type="primary"):
        try:
            _show(client, name, content, other, speaker, explain=explain)
        except UnknownSpeakerError as error:
            forget(error)
        except SerctError as error:
            st.error(str(error))


def _sidebar(client: Client, ready: dict[str, Any], versions: list[dict[str, Any]]) -> str | None:
    model = ready["model"]
    st.sidebar.header("Model")
    st.sidebar.markdown(f"**{_title(model)}**, trained on {trained_on(model)}")
    if model["synthetic"]:
        st.sidebar.warning("Trained on synthetic speech: not valid for people.")
    if ready["problem"]:
        st.sidebar.warning(f"The registry's version cannot be used: {ready['problem']}")
    st.sidebar.caption(f"Service: {client.url}")
    others = [each for each in versions if each["version"] != model["version"]]
    labels = {each["version"]: f"{_title(each)}, on {each['corpus']}" for each in others}
    chosen: str | None = st.sidebar.selectbox(
        "Compare with",
        [None, *labels],
        format_func=lambda version: labels[version] if version else "nothing",
    )
    return chosen


def _show(
    client: Client,
    name: str,
    content: bytes,
    other: str | None,
    speaker: str | None,
    *,
    explain: bool,
) -> None:
    with st.spinner("Predicting..."):
        found = [client.segments(name, content)]
        if speaker:
            # The first, whose timeline is shown.
            found.insert(0, client.segments(name, content, speaker=speaker))
        if other:
            found.append(client.segments(name, content, other))
    timeline, emotions = found[0], list(found[0]["probabilities"] or ())
    columns = st.columns(len(found))
    for column, each in zip(columns, found, strict=True):
        with column:
            _show_prediction(each)
    st.subheader("Along the recording")
    waveform, rate_hz = decode(content, name)
    stretches = _stretches(client, name, content, speaker) if explain else []
    st.pyplot(timeline_figure(waveform, rate_hz, timeline["segments"], emotions, stretches))
    with st.expander("As a table"):
        st.dataframe(
            [
                {
                    "from, s": each["start_s"], "to, s": each["end_s"], "emotion": each["emotion"],
                    "probability": each["confidence"],
                }
                for each in timeline["segments"]
            ],
            hide_index=True,
        )  # fmt: skip


def _stretches(
    client: Client, name: str, content: bytes, speaker: str | None
) -> list[dict[str, Any]]:
    """Return what the prediction depends on, and say so; none if the recording is too long."""
    try:
        with st.spinner("Predicting without each part..."):
            found = client.importance(name, content, speaker)
    except UnknownSpeakerError:
        raise
    except SerctError as error:
        st.warning(str(error))
        return []
    if found["stretches"]:
        st.caption(
            f"Points lost: how much less probable {found['emotion']} is when soft noise replaces "
            "each part. A bar below 0 is a part that speaks for another emotion."
        )
    return list(found["stretches"])


def _show_prediction(found: dict[str, Any]) -> None:
    probabilities = found["probabilities"]
    heading = found["emotion"].replace("_", " ")
    if found["confidence"] is not None and heading != "uncertain":
        heading += f" ({found['confidence']:.0%})"
    st.subheader(f"Prediction: {heading}")
    st.caption(
        f"`{found['file']}`. Predicted by {_title(found['model'])}. The model used "
        f"{found['analysed_s']:.1f} of {found['duration_s']:.1f} s; the recording has "
        f"{found['speech_s']:.1f} s of speech."
    )
    if found["adaptation"]:
        adaptation = found["adaptation"]
        st.caption(f"Adapted to you, with {adaptation['recordings']} recordings.")
    for note in found["notes"]:
        st.info(note)
    if heading == "uncertain":
        st.warning("No emotion is probable enough. These are the probabilities.")
    if probabilities is None:
        st.warning("The recording has no speech, so there is no prediction.")
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


def trained_on(model: dict[str, Any]) -> str:
    """Return the corpora of a model as the service describes it, and how many speakers they had."""
    corpora = model["corpora"]
    if not corpora:  # its card is older
        return f"`{model['corpus']}` ({model['language']})"
    parts = []
    for name, part in corpora.items():
        speakers = f", {part['speakers']} speakers" if part["speakers"] else ""
        parts.append(f"`{name}` ({part['language']}{speakers})")
    return ", ".join(parts)


def _title(model: dict[str, Any]) -> str:
    version = f"version {model['version']}" if model["version"] else "from a folder"
    return f"{model['name']}, {version} ({model['fingerprint'][:7]})"


if __name__ == "__main__":
    main()
