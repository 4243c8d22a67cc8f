"""Windows of a dataset, computed batch by batch; features of a window are computed once.

Train, evaluate, zero_shot, studies and searches read the same recordings, each in a process of its
own: what one has computed, the others find in the user's cache (`serct.runtime.cache`).

Shapes: M samples, W windows, F features.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from serct.data.dataset import ShardDataset, stack_clips
from serct.models.classical.feature_classifier import FeatureClassifier
from serct.runtime import distributed
from serct.runtime.arrays import Features, Floats, Integers
from serct.runtime.cache import FeatureCache

Advance = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a dataset's utterances, those of one utterance side by side.

    In a group of processes all must call each method alike: they divide the batches, and each gets
    all results.

    Attributes:
        dataset: Holds the utterances.
        places: (utterance, start, end) of each window, in samples.
    """

    dataset: ShardDataset
    places: Sequence[tuple[int, int, int]]

    @classmethod
    def of_recordings(cls, dataset: ShardDataset) -> "Windows":
        """Return the windows by which whole utterances are predicted."""
        plans = enumerate(dataset.plans)
        return cls(dataset, [(index, *window) for index, plan in plans for window in plan.windows])

    @classmethod
    def of_first_rows(cls, dataset: ShardDataset) -> "Windows":
        """Return the first row of each utterance, which models are trained on."""
        lengths = enumerate(dataset.num_valid.tolist())
        return cls(dataset, [(index, 0, length) for index, length in lengths])

    def compute(
        self,
        compute: Callable[[Floats, Integers], Features],
        width: int,
        batch_size: int,
        on_progress: Advance,
    ) -> Features:
        """Compute ``width`` numbers for each window. float64 [W, width].

        Args:
            compute: Takes waveforms and their lengths. float32 [B, M], int64 [B]
            width: Of its results, [B, width].
            batch_size: B, at most.
            on_progress: Called with the number of utterances just begun.
        """
        found = np.zeros((len(self.places), width))
        self._fill(found, np.arange(len(self.places)), compute, batch_size, on_progress)
        # One process computes a row, and it is zero in all others: the sum is exact.
        return distributed.total_array(found)

    def features(self, model: FeatureClassifier, batch_size: int, on_progress: Advance) -> Features:
        """Return a model's features of each window, from the cache or computed. float64 [W, F]."""
        cache = FeatureCache(self._name(model))
        # The first process alone uses the cache: others may be on machines with another one.
        is_first = distributed.rank() == 0
        digests = self._digests() if is_first else []
        known = cache.read() if is_first else {}
        # Whether each window is missing, then F if that is known.
        state = np.zeros(len(self.places) + 1, dtype=np.int64)
        if is_first:
            state[:-1] = [digest not in known for digest in digests]
            state[-1] = len(next(iter(known.values()), ()))
        *is_missing, num_features = distributed.total_array(state).tolist()
        missing = np.flatnonzero(is_missing)
        if not num_features:
            num_features = model.extract_features(np.zeros((1, 1), np.float32)).shape[1]
        found = np.zeros((len(self.places), num_features))
        for place, digest in enumerate(digests):
            if digest in known:
                found[place] = known[digest]
        if is_first:
            on_progress(int(self._is_first.sum() - self._is_first[missing].sum()))
        self._fill(
            found,
            missing,
            lambda waveforms, num_valid: model.extract_features(waveforms),
            batch_size,
            on_progress,
        )
        distributed.total_array(found)
        if is_first and len(missing):
            cache.add([digests[place] for place in missing], found[missing])
        return found

    def _fill(
        self,
        found: Features,
        chosen: npt.NDArray[np.int64],
        compute: Callable[[Floats, Integers], Features],
        batch_size: int,
        on_progress: Advance,
    ) -> None:
        """Compute this process' share of the chosen windows, into their rows.

        Windows of similar length share a batch, so that little is padded.
        """
        lengths = np.array([end - start for _, start, end in self.places])
        by_length = chosen[np.argsort(lengths[chosen], kind="stable")]
        first, step = distributed.rank() * batch_size, distributed.size() * batch_size
        for begin in range(first, len(chosen), step):
            batch = by_length[begin : begin + batch_size]
            clips = [self.dataset.window(*self.places[place]) for place in batch]
            found[batch] = compute(*stack_clips(clips, self.dataset.meta.pcm_scale))
            on_progress(int(self._is_first[batch].sum()))

    @cached_property
    def _is_first(self) -> npt.NDArray[np.bool_]:
        """Whether each window is the first of its utterance."""
        return np.diff([index for index, *_ in self.places], prepend=-1) > 0

    def _digests(self) -> list[bytes]:
        """Compute the SHA-256 of each window's samples.

        They and not the shards decide: another split or another order changes no feature.
        """
        return [hashlib.sha256(self.dataset.window(*place).data).digest() for place in self.places]

    def _name(self, model: FeatureClassifier) -> str:
        """Name the file of a model's features of a corpus."""
        meta = self.dataset.meta
        decides = hashlib.sha256(f"{model.feature_key()} {meta.pcm_scale} {meta.corpus}".encode())
        return re.sub(r"[^\w-]", "_", f"{meta.corpus}-{decides.hexdigest()[:16]}")
