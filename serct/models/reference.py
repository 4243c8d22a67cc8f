"""What a model met and predicted on its validation part, as counts: the reference of drift."""

from serct.config.record import RecordPart


class Reference(RecordPart):
    """Counts of the validation part's recordings, which the service's own are compared with.

    `serct.evaluation.observation` says what the quantities are and where their bins end.

    Attributes:
        recordings: That were counted.
        of: Recordings in the validation part.
        counts: By quantity, then by bin. A recording that has no value is in none of its bins.
    """

    recordings: int
    of: int
    counts: dict[str, dict[str, int]]
