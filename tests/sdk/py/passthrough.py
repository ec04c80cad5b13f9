"""What goes through unread: the other endpoints behind the one base URL, through the official `openai` package."""

import base64
import json

from openai import OpenAI

from answers import PIXEL
from twice import BASE, KEY, NEVER_CACHED, Said, check, lasting, same, scenario

client = OpenAI(base_url=f"{BASE}/v1", api_key=KEY)

# Forwarded each time.
PASSED = {"sources": NEVER_CACHED, "calls": (1,)}


def told(response, body=None):
    """Returns what was said, from a raw response."""
    return Said(response.headers.get("x-cache-source"), lasting(response.parse() if body is None else body))


@scenario("embeddings", **PASSED)
def _():
    response = client.embeddings.with_raw_response.create(model="text-embedding-3-small", input="Please embed this.")
    same(response.parse().data[0].embedding, [0.25, -0.5, 0.125, 1.0], "the embedding")
    return told(response)


@scenario("embeddings as floats", **PASSED)
def _():
    response = client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input=["Please embed this.", "And embed this."], encoding_format="float"
    )
    same(len(response.parse().data), 2, "the number of embeddings")
    return told(response)


@scenario("image", **PASSED)
def _():
    response = client.images.with_raw_response.generate(model="gpt-image-1", prompt="Draw a red pixel.")
    same(response.parse().data[0].b64_json, "iVBORw0KGgo=", "the image")
    return told(response)


@scenario("speech", **PASSED)
def _():
    response = client.audio.speech.with_raw_response.create(
        model="gpt-4o-mini-tts", voice="alloy", input="Please read this aloud."
    )
    same(response.content, b"ID3\x00\x00\x00", "the sound")
    check(response.headers["content-type"].startswith("audio/"), "it is no sound")
    return told(response, "sound")


@scenario("transcription", **PASSED)
def _():
    response = client.audio.transcriptions.with_raw_response.create(model="whisper-1", file=("said.mp3", b"ID3"))
    same(response.parse().text, "What was said.", "the text")
    return told(response)


@scenario("image edited", **PASSED)
def _():
    response = client.images.with_raw_response.edit(
        model="gpt-image-1", prompt="Make of it a red pixel.", image=("pixel.png", base64.b64decode(PIXEL), "image/png")
    )
    same(response.parse().data[0].b64_json, "iVBORw0KGgo=", "the image")
    return told(response)


@scenario("translation", **PASSED)
def _():
    response = client.audio.translations.with_raw_response.create(model="whisper-1", file=("meant.mp3", b"ID3"))
    same(response.parse().text, "What was meant.", "the text")
    return told(response)


@scenario("moderation", **PASSED)
def _():
    response = client.moderations.with_raw_response.create(model="omni-moderation-latest", input="Something harmless.")
    same(response.parse().results[0].flagged, False, "the verdict")
    return told(response)


@scenario("files", sources=("upstream",), calls=(4,))
def _():
    content = bytes(range(256)) * 64
    response = client.files.with_raw_response.create(file=("all.bin", content), purpose="user_data")
    file = response.parse()
    same((file.filename, file.bytes), ("all.bin", len(content)), "the file")
    check(file.id in [other.id for other in client.files.list()], "the file is not listed")
    same(client.files.content(file.id).read(), content, "the content")
    same(client.files.delete(file.id).deleted, True, "whether it was deleted")
    return told(response)


@scenario("batch", sources=("upstream",), calls=(5,))
def _():
    line = {
        "custom_id": "one", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello."}]},
    }
    file = client.files.create(file=("asked.jsonl", json.dumps(line).encode()), purpose="batch")
    response = client.batches.with_raw_response.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    # Each look at it is a step of its work.
    same(client.batches.retrieve(response.parse().id).status, "in_progress", "its status at first")
    batch = client.batches.retrieve(response.parse().id)
    same(batch.status, "completed", "its status")
    # What answers stand there aimock makes up.
    check('"custom_id":"one"' in client.files.content(batch.output_file_id).text, "the answer is not in the file")
    return told(response, batch.request_counts)


@scenario("fine-tuning", sources=("upstream",), calls=(3,))
def _():
    file = client.files.create(file=("taught.jsonl", b'{"messages": []}\n'), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    response = jobs.with_raw_response.create(model="gpt-4o-mini-2024-07-18", training_file=file.id)
    check(response.parse().id in [job.id for job in jobs.list()], "the job is not listed")
    return told(response)


@scenario("models", sources=(None,), calls=(0,))
def _():
    # This one is Refrain's own: what may be asked for.
    names = [model.id for model in client.models.list()]
    check("drill" in names and "drill-tools" in names, f"the models are {names}")
    return Said(None, None)
