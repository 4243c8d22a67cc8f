"""The limits of the service: the ``serving`` section of params.yaml."""

from pydantic import Field

from serct.config.section import Positive, PositiveInt, Section


class ServingParams(Section):
    """How much clients may ask for, and how long the service waits.

    `serct serve` and `serct app` have an option for each field. The defaults are the values of
    params.yaml, for a model that is served without one, or with one of an older version.
    """

    poll_s: Positive = Field(1.0, description="Time between two checks of the registry, in s.")
    convert_after_s: Positive = Field(
        60.0, description="Time in use before a model is converted to a faster form, in s."
    )
    max_body_mb: Positive = Field(20.0, description="Largest request body, in MB.")
    max_call_mb: Positive = Field(3000.0, description="Largest body of /v1/segments, in MB.")
    max_files: PositiveInt = Field(16, description="Files in one request.")
    max_clip_s: Positive = Field(60.0, description="Longest file for /v1/predict, in s.")
    max_recording_s: Positive = Field(14_400.0, description="Longest file for /v1/segments, in s.")
    max_in_flight: PositiveInt = Field(64, description="Whole requests at the same time.")
    max_uploads: PositiveInt = Field(256, description="Requests whose body is still arriving.")
    max_calls: PositiveInt = Field(4, description="Requests of /v1/segments at the same time.")
    max_streams: PositiveInt = Field(16, description="Live streams at the same time.")
    key_requests_per_minute: PositiveInt = Field(
        600, description="Requests of a key in a minute, and at once."
    )
    key_streams: PositiveInt = Field(4, description="Live streams of a key at the same time.")
    max_batch: PositiveInt = Field(16, description="Clips that the model predicts at once.")
    max_speakers: PositiveInt = Field(1000, description="Enrolled speakers held at the same time.")
    speaker_ttl_s: Positive = Field(
        3600.0, description="Time without use after which a speaker is forgotten, in s."
    )
    drift_predictions: PositiveInt = Field(
        500, description="Last predictions of a version that drift is measured on."
    )
    drift_max_age_s: Positive = Field(86_400.0, description="How old they may be, in s.")
    body_timeout_s: Positive = Field(10.0, description="Longest wait for a part of a body, in s.")
    min_body_rate_kb: Positive = Field(
        20.0, description="Least rate of a body after the first body_timeout_s, in kB/s."
    )
    min_call_rate_kb: Positive = Field(
        0.5, description="The same for /v1/segments, whose recordings may be live, in kB/s."
    )
    decode_timeout_s: Positive = Field(10.0, description="Longest time to decode a file, in s.")
    decode_memory_mb: Positive = Field(1000.0, description="Memory to decode a file, in MB.")
    timeout_s: Positive = Field(60.0, description="Longest time for a response, in s.")
    idle_s: Positive = Field(30.0, description="Longest wait for a message of a stream, in s.")
    drain_s: Positive = Field(30.0, description="Time for open requests after SIGTERM, in s.")

    def for_calls(self) -> "ServingParams":
        """Return the same with the limits of /v1/segments in place of those of other bodies."""
        return self.model_copy(
            update={"max_body_mb": self.max_call_mb, "min_body_rate_kb": self.min_call_rate_kb}
        )
