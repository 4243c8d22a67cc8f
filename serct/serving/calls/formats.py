"""The timeline of a long recording in the formats that other programs read."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from serct.inference.audformat_table import rows_of, table_text
from serct.inference.recording import RecordingPrediction, TimedPrediction
from serct.serving import predicting, schemas
from serct.serving.calls.call import Call

Form: TypeAlias = Literal["json", "ndjson", "vtt", "rttm", "csv"]
MEDIA_TYPES: dict[Form, str] = {
    "json": "application/json", "ndjson": "application/x-ndjson", "vtt": "text/vtt",
    "rttm": "text/plain", "csv": "text/csv",
}  # fmt: skip


def text_of(call: Call, form: Form) -> str:
    """Return all of a call that was predicted, in a format other than NDJSON."""
    name, found = call.body.name, call.found
    if form == "vtt":
        return webvtt(found, is_separate=call.is_separate)
    if form == "rttm":
        return rttm(name, found)
    if form == "csv":
        return table_text(
            rows_of(name, found[0], timeline=True), call.model.predictor.card.emotions
        )
    timelines = [predicting.timeline(call.model, name, each) for each in found]
    if call.is_separate:
        return schemas.Timelines(file=name, channels=timelines).model_dump_json()
    return timelines[0].model_dump_json()


def webvtt(found: Sequence[RecordingPrediction], *, is_separate: bool) -> str:
    """Return segments with a prediction as subtitles, those of channels with their number.

    Source:
        W3C, WebVTT: The Web Video Text Tracks Format, section 4.1.
    """
    cues = sorted(_spoken(found), key=lambda cue: (cue[1].start_s, cue[0]))
    lines = ["WEBVTT\n"]
    for channel, segment in cues:
        text = f"{segment.emotion} ({max((segment.probabilities or {}).values()):.0%})"
        text = f"<v Channel {channel}>{text}" if is_separate else text
        lines.append(f"{_clock(segment.start_s)} --> {_clock(segment.end_s)}\n{text}\n")
    return "\n".join(lines)


def rttm(name: str, found: Sequence[RecordingPrediction]) -> str:
    """Return segments with a prediction as lines of RTTM, with the emotion for the speaker's name.

    Source:
        NIST, The 2009 Rich Transcription Meeting Recognition Evaluation Plan, appendix A.
    """
    file = "_".join(name.split()) or "recording"
    return "".join(
        f"SPEAKER {file} {channel} {segment.start_s:.3f} {segment.end_s - segment.start_s:.3f} "
        f"<NA> <NA> {segment.emotion} {max((segment.probabilities or {}).values()):.4f} <NA>\n"
        for channel, segment in _spoken(found)
    )


def _spoken(found: Sequence[RecordingPrediction]) -> Iterator[tuple[int, TimedPrediction]]:
    for channel, each in enumerate(found, 1):
        for segment in each.segments:
            if segment.probabilities:
                yield channel, segment


def _clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"
