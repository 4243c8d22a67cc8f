"""The numbers printed in the thesis, and their known faults.

The report shows them beside ours, as published. They are not a pass mark: `FAULTS` says why.

Source:
    Zheng, "SERCT: End-to-End Speech Emotion Recognition based on CNN-Transformer", University of
    Groningen, tables 2 to 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Published:
    """Three scores of one model on one test, in 0..1, with the thesis' four decimals.

    Attributes:
        wa: Weighted accuracy: the share of utterances that are right.
        ua: Unweighted accuracy: the mean of the emotions' recalls.
        wf1: F1 of each emotion, averaged with the emotions' frequencies as weights.
    """

    wa: float
    ua: float
    wf1: float


# (test corpus, model) -> scores. tess and esd_en: table 3, trained on the same corpus.
# emodb and esd_zh: table 4, zero-shot, trained on English.
THESIS: Mapping[tuple[str, str], Published] = MappingProxyType(
    {
        ("tess", "serct"): Published(0.9893, 0.9893, 0.9894),
        ("tess", "cnn"): Published(0.8214, 0.8214, 0.8190),
        ("tess", "mlp"): Published(0.3857, 0.3857, 0.3736),
        ("tess", "svm"): Published(0.1607, 0.1607, 0.0757),
        ("tess", "cnn_bilstm"): Published(0.1429, 0.1429, 0.0357),
        ("tess", "lstm"): Published(0.1311, 0.1311, 0.0301),
        ("esd_en", "serct"): Published(0.5200, 0.5200, 0.4249),
        ("esd_en", "cnn"): Published(0.4732, 0.4731, 0.4705),
        ("esd_en", "mlp"): Published(0.2306, 0.2306, 0.2290),
        ("esd_en", "svm"): Published(0.1998, 0.2000, 0.0667),
        ("esd_en", "cnn_bilstm"): Published(0.2003, 0.2000, 0.0669),
        ("esd_en", "lstm"): Published(0.1083, 0.1887, 0.0499),
        ("emodb", "serct"): Published(0.3877, 0.3712, 0.3892),
        ("emodb", "cnn"): Published(0.2203, 0.1699, 0.1910),
        ("emodb", "mlp"): Published(0.2320, 0.2320, 0.2307),
        ("emodb", "svm"): Published(0.1740, 0.1704, 0.1090),
        ("emodb", "cnn_bilstm"): Published(0.2797, 0.1667, 0.1223),
        ("emodb", "lstm"): Published(0.2677, 0.1366, 0.1023),
        ("esd_zh", "serct"): Published(0.5480, 0.5480, 0.5224),
        ("esd_zh", "cnn"): Published(0.4800, 0.4800, 0.4672),
        ("esd_zh", "mlp"): Published(0.2048, 0.1863, 0.1956),
        ("esd_zh", "svm"): Published(0.2000, 0.2000, 0.0698),
        ("esd_zh", "cnn_bilstm"): Published(0.2000, 0.2000, 0.0667),
        ("esd_zh", "lstm"): Published(0.1987, 0.1987, 0.0497),
    }
)

# (test corpus, variant of SERCT) -> scores, trained and tested on the same corpus. Table 5.
ABLATION: Mapping[tuple[str, str], Published] = MappingProxyType(
    {
        ("tess", "no_transformer"): Published(0.8214, 0.8214, 0.8190),
        ("tess", "no_cnn"): Published(0.9500, 0.9500, 0.9503),
        ("tess", "plain_attention"): Published(0.9612, 0.9612, 0.9613),
        ("esd_en", "no_transformer"): Published(0.4732, 0.4731, 0.4705),
        ("esd_en", "no_cnn"): Published(0.3779, 0.3780, 0.3127),
        ("esd_en", "plain_attention"): Published(0.4099, 0.4099, 0.3576),
    }
)

# Hours of training on one NVIDIA A100 (40 GB); the thesis does not say on which corpus. Table 2.
TRAINING_HOURS: Mapping[str, float] = MappingProxyType(
    {"serct": 2.67, "cnn": 0.60, "cnn_bilstm": 0.72, "lstm": 0.65, "mlp": 0.12, "svm": 0.17}
)

FAULTS: tuple[str, ...] = (
    "There was no validation part: the published logs score every epoch on the test part, and the "
    "CNN's rows hold the best of them. SERCT's own log was not published.",
    "Some values cannot be fractions of the test's size: the LSTM's 0.1311 on TESS (280 "
    "utterances) and 0.2677 on EMO-DB (454), the MLP's 0.2320 on EMO-DB and the vanilla "
    "transformer's 0.9612 on TESS.",
    "The published zero-shot script loads a checkpoint named after 50 epochs on an "
    "undisclosed mix of corpora, not the 20-epoch model that the text describes.",
    "The MLP's zero-shot rows for EMO-DB and ESD-zh are swapped against its log.",
    "The ablation row without a transformer repeats the CNN baseline, another network.",
    "Several published baselines are broken: the LSTM sees a single time step, the CNN-BiLSTM "
    "reads the last padded step, and the LSTM, MLP and SVM read only the first 8,000 samples.",
    "The random split puts the same speakers and sentences on both sides, and each number is one "
    "run with one seed.",
)
