"""Every container is read whole or refused: cut, joined, damaged, with sizes that nobody meant."""

import io
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serct.data.audio import Limits, Recording, open_recording, read_recording
from serct.data.decoding import ogg
from serct.errors import AudioError
from tests.data.recordings import MAKERS, NO_XING, encode, film, make, riff, voice, write

LIMITS = Limits(silence_peak=1e-4, max_duration_s=30.0)
# Of these nothing announces the length, so that a cut between two frames does not show.
NO_LENGTH = {"mp3 without xing", "mp2", "aac", "amr"}
UNCOMPRESSED = {
    "wav", "wav u8", "wav float", "wav a-law", "rifx", "wavex", "rf64", "w64", "aiff", "aifc", "au",
    "caf", "sphere",
}  # fmt: skip
# Fewer bytes than these are less than a header: programs that count one too many are frequent.
ALLOWANCE = 128


def read(content: bytes, limits: Limits = LIMITS) -> Recording:
    return read_recording(io.BytesIO(content), limits, "x")


def refusal(content: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        read(content)
    return str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_every_container_is_read_whole_and_by_blocks(name: str) -> None:
    content = make(name)
    recording = read(content)
    assert recording.notes == ()
    assert recording.duration_s == pytest.approx(1.0, abs=0.13)
    # The tone is where it was: within the delay of the worst encoder.
    spectrum = np.abs(np.fft.rfft(recording.waveform[: recording.sample_rate]))
    assert spectrum.argmax() == pytest.approx(
        220 * len(spectrum) * 2 / recording.sample_rate, abs=4
    )
    with open_recording(io.BytesIO(content), LIMITS, "x") as stream:
        for _ in range(2):
            blocks = np.concatenate(list(stream.blocks()))
            np.testing.assert_array_equal(blocks, recording.waveform)
        assert (stream.num_frames, stream.sample_rate) == (len(blocks), recording.sample_rate)
        assert stream.duration_s == recording.duration_s


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_cut_anywhere_is_refused(name: str) -> None:
    content = make(name)
    length = len(read(content).frames)
    allowed = ALLOWANCE if name in UNCOMPRESSED else 1  # one byte may be padding
    random_places = random.Random(name)
    places = [random_places.randrange(1, len(content) - allowed) for _ in range(30)]
    for place in [*places, len(content) - allowed - 1]:
        try:
            found = len(read(content[:place]).frames)
        except AudioError:
            continue
        assert found == length or name in NO_LENGTH, f"{place} of {len(content)} bytes"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wav", "x: cut off, found 15978 of 32000 announced bytes of audio"),
        ("aiff", "x: cut off, found 15973 of 32000 announced bytes of audio"),
        ("rf64", "x: cut off, found 15948 of 32000 announced bytes of audio"),
        ("w64", "x: cut off, found 15948 of 32000 announced bytes of audio"),
        ("au", "x: cut off, found 15988 of 32000 announced bytes of audio"),
        ("sphere", "x: cut off, found 15488 of 32000 announced bytes of audio"),
        ("opus", "x: cut off within a page"),
        ("mp4", "x: cut off, found "),
        ("webm", "x: cut off, found "),
        ("amr", "x: cut off, its last frame is incomplete"),
        ("wma", "x: cut off, found "),
        ("mp3", "x: cut off after 0."),
    ],
)
def test_the_cut_is_named(name: str, message: str) -> None:
    content = make(name)
    assert refusal(content[: len(content) // 2]).startswith(message)


NO_END = ("its end is not marked: it is read as far as it goes",)
LAST = 4


def pages(content: bytes) -> list[bytes]:
    starts = [place for place in range(len(content)) if content.startswith(b"OggS", place)]
    stops = [*starts[1:], len(content)]
    return [content[start:stop] for start, stop in zip(starts, stops, strict=True)]


def page(like: bytes, flags: int, number_more: int = 0, rest: bytes = b"") -> bytes:
    """Return a page with other flags, and with other segments if some are given."""
    (number,) = struct.unpack_from("<I", like, 18)
    rest = rest or like[26:]
    head = like[:5] + bytes([flags]) + like[6:18] + struct.pack("<I", number + number_more)
    checksum = ogg._checksum(head + bytes(4) + rest)
    return head + struct.pack("<I", checksum) + rest


@pytest.mark.parametrize("name", ["vorbis", "opus", "ogg flac"])
def test_an_ogg_may_mark_no_end_or_several(name: str) -> None:
    content = make(name)
    expected = read(content).frames
    *before, last = pages(content)
    start, unmarked = b"".join(before), page(last, 0)
    empty = page(last, LAST, number_more=1, rest=b"\0")
    for changed, notes in (
        (start + unmarked, NO_END),
        (start + unmarked + empty, ()),
        (content + empty, ()),
        (b"".join(before[:-1]) + page(before[-1], before[-1][5] | LAST) + last, ()),
    ):
        recording = read(changed)
        np.testing.assert_array_equal(recording.frames, expected)
        assert recording.notes == notes
    twice = read((start + unmarked) * 2)
    assert (len(twice.frames), twice.notes) == (2 * len(expected), NO_END)


def test_an_ogg_that_stops_within_a_packet_or_before_its_samples_is_cut_off() -> None:
    first, *between, last = pages(make("vorbis"))
    unfinished = page(last, 0, rest=b"\1\xff" + bytes(255))
    assert (
        refusal(b"".join([first, *between, unfinished]))
        == "x: cut off, its last page ends within a packet"
    )
    assert refusal(first) == "x: cut off, it holds headers and no samples"


def test_a_browser_may_stop_between_two_blocks_of_unknown_sizes() -> None:
    content = make("webm live")
    whole = len(read(content).frames)
    found, refusals = [], set()
    for place in range(len(content) - 400, len(content)):
        try:
            found.append(len(read(content[:place]).frames))
        except AudioError as error:
            refusals.add(str(error).split(",")[0])
    assert refusals <= {"x: cut off", "x: cut off within the header of an element"}
    assert 1 <= len(found) <= 8
    assert max(found) < whole


def test_an_mp4_without_its_table_was_never_finished() -> None:
    content = make("mp4")
    table = content.rindex(b"moov") - 4
    assert refusal(content[:table]) == "x: cut off, its table of samples ('moov') is missing"


WAV = make("wav")
RATE_PLACE, SIZE_PLACE, FILE_SIZE_PLACE = 24, 40, 4


def with_sizes(data: int, file: int | None = None) -> bytes:
    content = bytearray(WAV)
    content[SIZE_PLACE : SIZE_PLACE + 4] = struct.pack("<I", data)
    if file is not None:
        content[FILE_SIZE_PLACE : FILE_SIZE_PLACE + 4] = struct.pack("<I", file)
    return bytes(content)


@pytest.mark.parametrize(
    ("data", "file"),
    [
        (0, 0), (0, 36), (0, None), (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0),
        (0x7FFFF000, 0x7FFFF024), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0x80000024),
        (0xFFFFF000, 0xFFFFF024), (0x7FFFFFDB, 0x7FFFFFFF), (0x40000000, 0xFFFFFFFF),
        (2_000_000_000, 0), (32000, 0xFFFFFFFF), (32000, 0), (32036, None), (32044, 32080),
        (64000, None),
    ],
)  # fmt: skip
def test_sizes_that_the_file_cannot_mean_are_no_promise(data: int, file: int | None) -> None:
    np.testing.assert_array_equal(read(with_sizes(data, file)).frames, read(WAV).frames)


@pytest.mark.parametrize(
    ("data", "file"), [(64000, 64036), (64000, 0), (2_000_000_000, 2_000_000_036)]
)
def test_sizes_that_agree_are_a_promise(data: int, file: int) -> None:
    message = f"x: cut off, found 32000 of {data} announced bytes of audio"
    assert refusal(with_sizes(data, file)) == message


def test_a_placeholder_in_front_does_not_hide_a_cut() -> None:
    content = with_sizes(32000, 0xFFFFFFFF)[:20000]
    assert refusal(content) == "x: cut off, found 19956 of 32000 announced bytes of audio"


@pytest.mark.parametrize("byte", [0, 255])
@pytest.mark.parametrize(
    ("container", "tag", "offset", "width"),
    [("aiff", b"SSND", 4, 4), ("au", b".snd", 8, 4), ("caf", b"data", 4, 8),
     ("rf64", b"ds64", 16, 8), ("w64", b"data\xf3", 16, 8)],
)  # fmt: skip
def test_placeholders_of_other_containers_are_no_promise(
    container: str, tag: bytes, offset: int, width: int, byte: int
) -> None:
    content = bytearray(make(container))
    place = content.index(tag) + offset
    content[place : place + width] = bytes([byte]) * width
    if container == "aiff":
        content[4:8] = bytes([byte]) * 4
    assert len(read(bytes(content)).frames) == 16000


def test_samples_that_the_header_leaves_out_are_refused() -> None:
    assert refusal(with_sizes(20000)) == (
        "x: its header announces 20000 bytes of audio, but 12000 bytes follow that are no part of "
        "it: the header is stale or the file damaged"
    )
    au = bytearray(make("au"))
    au[8:12] = struct.pack(">I", 20000)
    assert "but 12000 bytes follow" in refusal(bytes(au))


def test_a_second_chunk_of_samples_is_refused() -> None:
    form, (tag, samples) = _chunks()
    halves = riff(form, (tag, samples[:20000]), (tag, samples[20000:]))
    assert "header announces 20000 bytes of audio, but 12008 bytes follow" in refusal(halves)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "pcm_mulaw"])
def test_the_type_of_samples_in_w64_is_what_the_header_says(codec: str, channels: int) -> None:
    content = encode("w64", codec, layout="mono" if channels == 1 else "2.1")
    recording = read(content)
    assert recording.frames.shape == (16000, channels)
    np.testing.assert_allclose(recording.waveform, voice(16000), atol=0.02)


ID3 = b"ID3\x04\0\0\0\0\x0f\x7f" + b"x" * 2047
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.3.100\0\0"


@pytest.mark.parametrize(
    "behind",
    [LIST, LIST * 3, bytes(5000), ID3, b"TAG" + b"x" * 125, b"note"],
    ids=["chunk", "chunks", "zeros", "id3", "id3v1", "few bytes"],
)
def test_what_stands_behind_the_samples_is_no_damage(behind: bytes) -> None:
    assert len(read(WAV + behind).frames) == 16000


def test_a_cut_in_the_text_behind_the_samples_loses_nothing() -> None:
    content = riff(*_chunks(), (b"LIST", b"INFO" + b"abcd" * 200))
    assert len(read(content[:-500]).frames) == 16000


def _chunks() -> list[tuple[bytes, bytes]]:
    return [(b"fmt ", WAV[20:36]), (b"data", WAV[44:])]


def test_an_odd_size_need_not_be_filled_up() -> None:
    form, (tag, samples) = (b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)), _chunks()[1]
    content = riff(form, (tag, samples[:8001]), (b"LIST", LIST[8:] * 8))
    place = content.index(b"LIST")
    assert len(read(content[: place - 1] + content[place:]).frames) == 8001


def test_tags_in_front_and_behind_of_mp3_and_wav() -> None:
    ape = struct.pack("<8sIII8x", b"APETAGEX", 2000, 64 + 32, 1 << 31)
    ape_head = struct.pack("<8sIII8x", b"APETAGEX", 2000, 64 + 32, 1 << 31 | 1 << 29)
    mp3 = make("mp3")
    length = len(read(mp3).frames)
    for content in (ID3 + mp3, mp3 + ape_head + b"k" * 64 + ape, mp3 + b"TAG" + b"x" * 125):
        assert len(read(content).frames) == length
    assert len(read(ID3 + WAV).frames) == 16000


@pytest.mark.parametrize(
    "name",
    ["vorbis", "opus", "ogg flac", "flac", "mp3", "mp3 without xing", "mp2", "webm", "mka", "aac"],
)
def test_joined_files_are_read_to_the_end(name: str) -> None:
    once = read(make(name)).frames
    twice = read(make(name) * 2).frames
    assert len(twice) == 2 * len(once)
    np.testing.assert_allclose(twice[: len(once)], once, atol=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        (make("vorbis"), write(voice(22050), 22050, "OGG"), "22050 Hz and 1 channel after 1.00 s"),
        (make("flac"), write(voice(22050), 22050, "FLAC"), "22050 Hz and 1 channel after 1.00 s"),
        (
            make("vorbis"), write(np.stack([voice(16000)] * 2, axis=1), container="OGG"),
            "16000 Hz and 2 channels after 1.00 s",
        ),
        (
            make("mp3"), encode("mp3", "libmp3lame", 44100, NO_XING),
            "44100 Hz and 1 channel after 1.00 s",
        ),
    ],
)  # fmt: skip
def test_joined_files_that_differ_are_refused(first: bytes, second: bytes, change: str) -> None:
    assert refusal(first + second) == f"x: changes from 16000 Hz and 1 channel to {change}"


def test_joined_files_of_which_only_one_would_be_read_are_refused() -> None:
    assert "several recordings joined" in refusal(make("mp4") * 2)
    assert "follow its announced end" in refusal(make("wma") * 2)
    assert len(read(make("wma") + bytes(3000)).frames) == len(read(make("wma")).frames)
    assert "bytes follow that are no part" in refusal(WAV * 2)


def test_mp3_without_a_length_is_read_however_wrong_the_estimate() -> None:
    parts = [
        encode("mp3", "libmp3lame", options=NO_XING, bit_rate=rate) for rate in (160_000, 24_000)
    ]
    lengths = [len(read(part).frames) for part in parts]
    estimates = []
    for content in (parts[0] + parts[1], parts[1] + parts[0]):
        estimates.append(soundfile.info(io.BytesIO(content)).frames)
        assert len(read(content).frames) == sum(lengths)
    assert min(estimates) < sum(lengths) < max(estimates)


@pytest.mark.parametrize("name", ["mp3 without xing", "aac"])
def test_what_begins_within_a_frame_is_read_from_the_next_one(name: str) -> None:
    content = make(name)
    whole = read(content)
    within = read(content[40:])
    lost = len(whole.frames) - len(within.frames)
    assert 0 < lost <= 1152
    (note,) = within.notes
    assert note.endswith(" bytes are no whole frame: they were left out")
    for front in (bytes(3000), ID3 + bytes(500)):
        padded = read(front + content)
        np.testing.assert_array_equal(padded.frames, whole.frames)
        assert padded.notes == ()


@pytest.mark.parametrize("pattern", [b"\xff\xf1" + bytes(62), b"\xff\xff\x25\xba" + bytes(60)])
def test_what_only_looks_like_frames_is_of_no_known_format(pattern: bytes) -> None:
    assert refusal(b"\x7fELF" + pattern * 2000) == "x: not readable as audio (no known format)"


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_header_may_count_one_frame_too_few_or_too_many(difference: int) -> None:
    content = make("mp3")
    place = (content.find(b"Xing") if b"Xing" in content else content.index(b"Info")) + 8
    count = int.from_bytes(content[place : place + 4], "big") + difference
    changed = content[:place] + count.to_bytes(4, "big") + content[place + 4 :]
    assert len(read(changed).frames) == pytest.approx(len(read(content).frames), abs=576)


def test_flac_is_read_to_its_end_whatever_its_header_announces() -> None:
    content = bytearray(make("flac"))
    for total in (1, 8000, 15999):
        content[22:26] = total.to_bytes(4, "big")
        np.testing.assert_array_equal(read(bytes(content)).frames, read(make("flac")).frames)
    content[22:26] = (16001).to_bytes(4, "big")
    assert refusal(bytes(content)).startswith("x: cut off or damaged (")


def test_flac_of_unknown_length_is_read_and_its_gaps_are_found() -> None:
    content = bytearray(make("flac"))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    np.testing.assert_array_equal(read(bytes(content)).frames, read(make("flac")).frames)
    for missing in (3, 100):
        assert refusal(bytes(content[:-missing])).startswith(("x: damaged after 0.", "x: cut off"))
    content[len(content) // 2] ^= 255
    assert refusal(bytes(content)).startswith("x: damaged after 0.")


def test_damage_in_the_middle_is_refused() -> None:
    for name in ("vorbis", "opus", "flac"):
        content = bytearray(make(name))
        content[len(content) // 2] ^= 255
        refusal(bytes(content))
    mp3 = make("mp3 without xing")
    assert refusal(mp3[:1000] + mp3[1100:]) == (
        "x: damaged after 0.18 s, at byte 1080: no frame of MPEG audio"
    )
    ogg = write(voice(16000, seconds=5.0), container="OGG")
    *_, before, last = (place for place in range(len(ogg)) if ogg.startswith(b"OggS", place))
    assert refusal(ogg[:before] + ogg[last:]) == (
        f"x: damaged, pages are missing before byte {before}"
    )


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(make("mp4"))
    assert read_recording(path, LIMITS).duration_s == pytest.approx(1.0, abs=0.1)


def test_no_file_makes_another_be_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(WAV)
    playlists = {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "a.ffconcat": f"ffconcat version 1.0\nfile {secret}\n",
        "a.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
        "a.wav": f"concat:{secret}",
        "a.m4a": f"[playlist]\nFile1=file://{secret}\nNumberOfEntries=1\n",
    }
    for name, text in playlists.items():
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(AudioError, match=rf"{name}: not readable as audio \(no known format\)"):
            read_recording(path, LIMITS)


def test_a_film_without_sound_and_protected_or_unknown_codecs_are_named() -> None:
    assert refusal(film()) == "x: holds no audio"
    protected = make("mp4").replace(b"mp4a", b"enca")
    assert refusal(protected) == "x: protected against copying (DRM), expected a plain recording"
    words = make("mp4").replace(b"Lavf", b"enca", 1)
    assert b"enca" in words
    assert len(read(words).frames) == len(read(make("mp4")).frames)
    unknown = make("webm").replace(b"A_OPUS", b"A_NONE")
    assert refusal(unknown) == "x: holds audio of an unknown codec"


def test_the_first_of_several_streams_is_used_and_said() -> None:
    recording = read(encode("matroska", "flac", num_streams=2))
    assert recording.notes == ("holds 2 audio streams: the first was used",)
    assert recording.duration_s == pytest.approx(1.0, abs=0.01)


def test_limits_hold_while_decoding() -> None:
    limits = Limits(silence_peak=None, max_duration_s=0.5)
    for name in ("wav", "mp3 without xing", "webm", "aac"):
        with pytest.raises(AudioError, match=r"0\.5 s( expected)?( at most)?"):
            read(make(name), limits)
    with pytest.raises(AudioError, match=r"x: longer than the 0\.5 s expected at most"):
        read_recording(io.BytesIO(make("webm")), LIMITS, "x", max_samples=24000)


def test_rates_beyond_those_of_recordings_are_refused() -> None:
    content = bytearray(WAV)
    content[RATE_PLACE : RATE_PLACE + 4] = struct.pack("<I", 1_000_000)
    assert refusal(bytes(content)) == "x: 1000000 Hz, expected 4000 to 192000"


def test_a_name_that_is_not_utf_8_is_opened_and_printed(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path.write_bytes(WAV)
    assert len(read_recording(path, LIMITS).frames) == 16000
    path.write_bytes(b"")
    with pytest.raises(AudioError) as caught:
        read_recording(path, LIMITS)
    assert str(caught.value).encode() == (
        f"{tmp_path}/caf\\xe9.wav (the name is not UTF-8): the file is empty".encode()
    )


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"cannot be opened \(Is a directory\)"):
        read_recording(tmp_path, LIMITS)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    with pytest.raises(AudioError, match=r"a\.wav: a pipe, expected a file: save the recording"):
        read_recording(path, LIMITS)
    reader, writer = os.pipe()
    with (
        os.fdopen(writer, "wb"),
        os.fdopen(reader, "rb") as file,
        pytest.raises(AudioError, match=r"upload: cannot seek \(.*\), expected an open file"),
    ):
        read_recording(file, LIMITS, "upload")


def test_a_file_that_changes_between_check_and_use_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(make("flac"))
    with open_recording(path, LIMITS) as stream:
        path.write_bytes(write(voice(16000, 0.5), container="FLAC"))
        with pytest.raises(AudioError, match=r"a\.flac: "):
            list(stream.blocks())


_MUTATE = """
import io, random, sys
from serct.data.audio import Limits, read_recording
from serct.errors import AudioError
content = open(sys.argv[1], "rb").read()
chance = random.Random(sys.argv[1][-8:])
for _ in range(int(sys.argv[2])):
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 3, 10])):
        reach = 200 if chance.random() < 0.4 else len(changed)
        place = chance.randrange(min(reach, len(changed)))
        changed[place] = chance.choice([0, 255, 127, 128, chance.randrange(256)])
    try:
        read_recording(io.BytesIO(changed), Limits(None, 30.0), "x")
    except AudioError as error:
        assert str(error).startswith("x: "), error
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_changed_bytes_are_refused_or_read_but_never_crash(name: str, tmp_path: Path) -> None:
    path = tmp_path / name.replace(" ", "_")
    path.write_bytes(make(name))
    command = [sys.executable, "-W", "error", "-c", _MUTATE, str(path), "500"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_libsndfile_reads_needs_no_other_package(tmp_path: Path) -> None:
    for name in ("wav", "flac", "webm"):
        (tmp_path / name).write_bytes(make(name))
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from pathlib import Path\n"
        "from serct.data.audio import Limits, read_recording\n"
        "for path in sys.argv[1:]:\n"
        "    print(len(read_recording(Path(path), Limits(None, 9.0)).waveform), flush=True)\n"
    )
    command = [sys.executable, "-c", code, *(str(tmp_path / n) for n in ("wav", "flac", "webm"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lengths = done.stdout.split()
    assert len(lengths) == 2
    assert lengths[0] == lengths[1]
    assert "this format needs the package av: " in done.stderr
