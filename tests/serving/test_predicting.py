"""Subtitles are WebVTT."""

from serct.serving.predicting import webvtt


def test_webvtt() -> None:
    text = webvtt([(0.0, 1.5, "happy (90%)"), (3599.9996, 3661.25, "sad (50%)")])
    assert text == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nhappy (90%)\n\n"
        "01:00:00.000 --> 01:01:01.250\nsad (50%)\n"
    )
