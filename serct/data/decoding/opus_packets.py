"""Decode single packets of Opus, as WebRTC and live encoders send them without a container."""

import queue
from collections.abc import Iterator

import av
import numpy as np

from serct.data.decoding.ffmpeg import as_floats
from serct.data.decoding.libsndfile import Block
from serct.errors import AudioError

OPUS_RATE_HZ = 48_000
_MOST_WAITING = 100


class ArrivingPackets:
    """Packets of Opus that one thread appends and another decodes.

    Source:
        RFC 6716, Definition of the Opus Audio Codec.
    """

    def __init__(self) -> None:
        self._packets: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)

    def append(self, content: bytes | bytearray) -> None:
        """Add a packet; wait if many wait to be decoded."""
        self._packets.put(bytes(content))

    def finish(self) -> None:
        """Mark the last packet as the last."""
        self._packets.put(None)

    def blocks(self) -> Iterator[Block]:
        """Yield each packet decoded, mono or stereo as the first one is.

        Raises:
            AudioError: If one is damaged.
        """
        codec = None
        for number, packet in enumerate(iter(self._packets.get, None), 1):
            if not packet:
                raise AudioError(f"packet {number} of Opus is empty")
            if codec is None:
                # Bit 2 of the first byte says whether there are two channels (RFC 6716, 3.1).
                codec = av.CodecContext.create("libopus", "r")
                codec.layout = "stereo" if packet[0] & 4 else "mono"
            try:
                frames = [as_floats(frame) for frame in codec.decode(av.Packet(packet))]
            except av.FFmpegError as error:
                raise AudioError(
                    f"packet {number} of Opus is damaged ({error.strerror})"
                ) from error
            if frames:
                yield Block(OPUS_RATE_HZ, np.concatenate(frames))
