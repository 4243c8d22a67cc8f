"""The page in plain JavaScript, in Chromium, whose microphone plays synthetic speech."""

import asyncio
from pathlib import Path

import pytest

from serct.serving.settings import Settings
from tests.serving.in_thread import serving
from tests.serving.streams.chromium import chromium, microphone

# What the table shows of predictions that are complete.
_DONE = "[...document.querySelectorAll('#found tr')].map(row => row.innerText).filter(text => {})"
_UTTERANCES = _DONE.format("text.includes('utterance.end')")
_FILES = _DONE.format("text.includes('recording.webm')")


@pytest.mark.slow
def test_a_microphone_by_samples_by_parts_of_a_file_and_by_http(
    trained: dict[str, Path], spoken: Path, tmp_path: Path
) -> None:
    options = microphone(tmp_path, spoken)

    async def main(url: str) -> None:
        async with chromium(tmp_path / "profile", *options) as page:
            await page.open(f"{url}/stream/")
            await page.wait_for("element('model').innerText.includes('trained on tones (en, 4')")
            await page.evaluate("element('live').click()")
            await page.wait_for("element('problem').innerText.includes('X-API-Key is missing')")
            await page.evaluate("element('key').value = 'k3y'")
            for encoding in ("pcm_f32le", "file"):
                await page.evaluate(f"element('encoding').value = {encoding!r}")
                await page.evaluate("element('live').click()")
                (row, *_) = await page.wait_for(f"({_UTTERANCES}).length && {_UTTERANCES}")
                assert row.endswith("%"), row
                await page.evaluate("element('stop').click()")
                await page.wait_for("!element('live').disabled")
                assert await page.evaluate("element('problem').hidden")
            await page.evaluate("element('record').click()")
            await page.wait_for("!element('stop').disabled")
            await asyncio.sleep(1.2)
            await page.evaluate("element('stop').click()")
            (row,) = await page.wait_for(f"({_FILES}).length && {_FILES}")
            assert row.endswith("%"), row
            # Without a microphone it says why; a file that is refused leaves no result behind.
            await page.evaluate(
                "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
            )
            await page.evaluate("element('live').click()")
            await page.wait_for("element('problem').innerText.includes('only over HTTPS')")
            await page.evaluate("run(() => predictFile('a.wav', new Blob(['no sound'])))")
            problem = await page.wait_for("element('problem').innerText")
            assert "a.wav: not readable as audio" in problem
            assert await page.evaluate("element('found').innerText") == ""

    with serving(Settings(str(trained["functionals_lda"]), Path("nowhere"), api_key="k3y")) as url:
        asyncio.run(asyncio.wait_for(main(url), 60))
