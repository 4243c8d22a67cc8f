"""Tags of music players in front of recordings and between those that were joined.

Source:
    ID3 tag version 2.4.0, Main Structure (https://id3.org); APE tags version 2 (Hydrogenaudio).
"""

from serct.data.decoding.view import View

MOST_TAGS = 100
_TAG_OF_TRACK = 128


def end_of_tags(view: View) -> int:
    """Return where the ID3v2 tags end that stand in front of anything."""
    place = 0
    for _ in range(MOST_TAGS):
        size = tag_size(view, place)
        place += size
        if not size:
            break
    return min(place, view.size)


def tag_size(view: View, place: int) -> int:
    """Return the size of the tag that begins at a place, 0 if none does."""
    head = view.at(place, 32)
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 0x80:
        size = 0
        for byte in head[6:10]:
            size = size << 7 | byte
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        size = int.from_bytes(head[12:16], "little")
        return size + 32 if head[23] & 0x20 else 32
    if head[:3] == b"TAG" and view.size - place >= _TAG_OF_TRACK:
        return _TAG_OF_TRACK
    return 0
