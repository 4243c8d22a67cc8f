"""Enrolled speakers: sums of features in this process' memory, for a limited time."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from serct.errors import UnknownSpeakerError
from serct.inference.enrolment import Speaker

# Of a speaker's name, which nobody can guess.
_NUM_BYTES = 16


@dataclass
class _Entry:
    speaker: Speaker
    used: float


class SpeakerStore:
    """Holds speakers by their secret names until they are not used for a while.

    No recording is kept, and nothing is written: a restart forgets all. If there are too many, the
    one that was not used for the longest time goes.
    """

    def __init__(
        self, max_speakers: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create an empty store.

        Args:
            max_speakers: Held at the same time.
            ttl_s: Time without use after which a speaker goes, in s.
            clock: Returns the time in s.
        """
        self._max_speakers, self._ttl_s, self._clock = max_speakers, ttl_s, clock
        # The one used last is at the end.
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Return how many speakers are held."""
        return len(self._entries)

    def add(self, speaker: Speaker) -> str:
        """Hold a speaker; return its new name."""
        self.drop_expired()
        name = secrets.token_urlsafe(_NUM_BYTES)
        self._entries[name] = _Entry(speaker, self._clock())
        while len(self._entries) > self._max_speakers:
            self._entries.popitem(last=False)
        return name

    def get(self, name: str) -> Speaker:
        """Return a speaker, and hold it for another while.

        Raises:
            UnknownSpeakerError: If there is none of this name.
        """
        self.drop_expired()
        entry = self._entry(name)
        entry.used = self._clock()
        self._entries.move_to_end(name)
        return entry.speaker

    def extend(self, name: str, more: Speaker) -> Speaker:
        """Add recordings to a speaker, and return it.

        Raises:
            UnknownSpeakerError: If there is none of this name.
        """
        speaker = self.get(name) + more
        self._entries[name].speaker = speaker
        return speaker

    def remove(self, name: str) -> None:
        """Forget a speaker.

        Raises:
            UnknownSpeakerError: If there is none of this name.
        """
        self.drop_expired()
        self._entry(name)
        del self._entries[name]

    def drop_expired(self) -> None:
        """Forget speakers that were not used for too long."""
        oldest = self._clock() - self._ttl_s
        while self._entries and next(iter(self._entries.values())).used <= oldest:
            self._entries.popitem(last=False)

    def _entry(self, name: str) -> _Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownSpeakerError(
                f"no such speaker: one goes when it is deleted or {self._ttl_s:g} s without use "
                "have passed, at the latest when the service ends; enrol again"
            ) from None
