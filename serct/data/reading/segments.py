"""Cut parts out of recordings, so that each utterance is a file of its own."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import soundfile

from serct.data.audio import Limits, read_recording
from serct.data.reading.audformat_tables import Segment
from serct.data.reading.tree import place_file
from serct.errors import AudioError

# What a whole corpus of an evening may have in one file: it is decoded as a whole to be cut.
_CUTTABLE = Limits(silence_peak=None, max_duration_s=4 * 3600.0)
# Tables round times; a part that misses less than this at both ends is the file.
_TOLERANCE_S = 0.01


def cut_name(segment: Segment) -> PurePosixPath:
    """Return the path of a part's own file: ``<stem>_<start>-<end>.flac``, in ms."""
    path = PurePosixPath(segment.file)
    end = "end" if segment.end_ns is None else f"{segment.end_ns / 1e6:.0f}"
    return path.with_name(f"{path.stem}_{segment.start_ns / 1e6:.0f}-{end}.flac")


def take_segments(
    source: Path, destination: Path, segments: Sequence[Segment]
) -> dict[Segment, str]:
    """Copy a recording, or write each of its parts as FLAC with the same samples.

    Args:
        source: Folder with the recording.
        destination: Folder that gets it at the same path, or the parts beside that.
        segments: Of one recording. A part that is all of it is the file itself, not a part.

    Returns:
        Why some cannot be had.
    """
    file = PurePosixPath(segments[0].file)
    if any(segment == segment.whole_file for segment in segments):
        place_file(source / file, destination / file, link=False)
    parts = [segment for segment in segments if segment != segment.whole_file]
    if not parts:
        return {}
    try:
        recording = read_recording(source / file, _CUTTABLE, name=str(file))
    except AudioError as error:
        reason = str(error).removeprefix(f"{file}: ")
        return dict.fromkeys(parts, f"cannot be cut: {reason}")
    problems: dict[Segment, str] = {}
    for part in parts:
        start_s = part.start_ns / 1e9
        end_s = recording.duration_s if part.end_ns is None else part.end_ns / 1e9
        target = destination / cut_name(part)
        if not 0 <= start_s < end_s <= recording.duration_s + _TOLERANCE_S:
            problems[part] = (
                f"{part}: the file has {recording.duration_s:.3f} s, expected a part of it"
            )
        elif start_s < _TOLERANCE_S and end_s > recording.duration_s - _TOLERANCE_S:
            place_file(source / file, destination / file, link=False)
        elif target.exists():
            problems[part] = f"another part or file is already named {cut_name(part)}"
        else:
            rate = recording.sample_rate
            frames = recording.frames[round(start_s * rate) : round(end_s * rate)]
            target.parent.mkdir(parents=True, exist_ok=True)
            # 24 bits hold every sample that float32 holds, up to full scale.
            soundfile.write(target, frames, rate, format="FLAC", subtype="PCM_24")
    return problems
