"""What a model's card says against it: limits of its protocol, its architecture and its data."""

from serct.errors import CheckpointError
from serct.models import restore_model_params
from serct.models.records import Card

_PROTOCOL_LIMITS = {
    "random": (
        "The random protocol puts the same speakers and sentences into training and test: "
        "scores under it are higher than those on a new speaker."
    ),
    "speaker": (
        "No speaker of the test part was trained on; sentences may occur on both sides, which "
        "still raises scores."
    ),
    "speaker_text": (
        "Neither a speaker nor a sentence of the test part was trained on; the studio and the way "
        "of acting were."
    ),
    "corpus": (
        "No recording of the test part's corpora was trained on: scores under this protocol are "
        "those of another studio, of other speakers and often of another language."
    ),
    "file": (
        "Others divided the corpus into training and test: whether speakers or sentences are on "
        "both sides depends on them."
    ),
    "emobox": (
        "The test part is a fold of EmoBox: in TESS, EMO-DB and CREMA-D its speakers are in "
        "training too, and scores are higher than those on a new speaker."
    ),
    "text": (
        "No sentence of the test part was trained on; the speakers may occur on both sides, so "
        "scores are higher than those on a new speaker."
    ),
}


def list_limits(card: Card) -> list[str]:
    """Return a sentence for each limit of a model that its card shows."""
    limits = [_PROTOCOL_LIMITS[card.protocol]] if card.protocol in _PROTOCOL_LIMITS else []
    limits.append(
        f"It has {len(card.emotions)} emotions and no name for mixed feelings or any other; a "
        "prediction below a confidence chosen on validation is marked as uncertain."
    )
    limits += _limits_of_architecture(card)
    if card.audio.sample_rate == "native":
        limits.append(
            "Files are not resampled: a file of another rate is read at another speed and pitch."
        )
    limits += [
        "A recording's level, microphone and background noise can change its prediction: "
        "`serct evaluate --probes` shows how often.",
        f"It was trained on few speakers ({card.language}) in clean recordings.",
        "One training with one seed: another seed gives other scores.",
        "Probabilities are calibrated on recordings like those it was trained on: on others, 0.9 "
        "does not mean right nine times in ten.",
    ]
    return limits


def _limits_of_architecture(card: Card) -> list[str]:
    try:
        params = restore_model_params(card.architecture, card.name)
    except CheckpointError:
        # Its card, results and promotions are still shown.
        return ["This version of serct does not have its architecture and cannot load it."]
    limits = []
    if params.licence:
        limits.append(f"A licence beside that of the recordings binds its users: {params.licence}.")
    if not params.masks_padding:
        limits.append("Padding is not masked, so a recording's length can change its prediction.")
    if params.adapts_to_speaker:
        limits.append(
            "These are scores with speaker enrolment: before the prediction, it adapted to all "
            "recordings of each speaker in the scored part, without labels. For a speaker without "
            "recordings it uses the average of all speakers, and its predictions are worse."
        )
    return limits
