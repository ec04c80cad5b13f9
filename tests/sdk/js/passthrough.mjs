// What goes through unread: the other endpoints behind the one base URL, through the official `openai` package.

import OpenAI, { toFile } from "openai";

import { PIXEL } from "./answers.mjs";
import { BASE, check, KEY, NEVER_CACHED, said, same, scenario } from "./twice.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });

/** Forwarded each time. */
const PASSED = { sources: NEVER_CACHED, calls: [1] };

/** Registers a scenario whose answer is looked at and compared. */
function expect(name, ask, look) {
  scenario(name, async () => {
    const { data, response } = await ask().withResponse();
    look(data);
    return said(response.headers, data);
  }, PASSED);
}

// The package asks for base64 unless told otherwise, and aimock sends floats all the same, which the package takes for bytes.
expect("embeddings", () => client.embeddings.create({
  model: "text-embedding-3-small", input: "Please embed this.", encoding_format: "float",
}), (it) => same(it.data[0].embedding, [0.25, -0.5, 0.125, 1], "the embedding"));

expect("image", () => client.images.generate({ model: "gpt-image-1", prompt: "Draw a red pixel." }), (it) => {
  same(it.data[0].b64_json, "iVBORw0KGgo=", "the image");
});

expect("transcription", () => {
  const file = new File(["ID3"], "said.mp3");
  return client.audio.transcriptions.create({ model: "whisper-1", file });
}, (it) => same(it.text, "What was said.", "the text"));

const image = await toFile(Buffer.from(PIXEL, "base64"), "pixel.png", { type: "image/png" });
expect("image edited", () => client.images.edit({
  model: "gpt-image-1", prompt: "Make of it a red pixel.", image,
}), (it) => same(it.data[0].b64_json, "iVBORw0KGgo=", "the image"));

expect("translation", () => {
  const file = new File(["ID3"], "meant.mp3");
  return client.audio.translations.create({ model: "whisper-1", file });
}, (it) => same(it.text, "What was meant.", "the text"));

expect("moderation", () => client.moderations.create({
  model: "omni-moderation-latest", input: "Something harmless.",
}), (it) => same(it.results[0].flagged, false, "the verdict"));

scenario("speech", async () => {
  const asked = { model: "gpt-4o-mini-tts", voice: "alloy", input: "Please read this aloud." };
  const response = await client.audio.speech.create(asked);
  const sound = [...new Uint8Array(await response.arrayBuffer())];
  same(sound, [0x49, 0x44, 0x33, 0, 0, 0], "the sound");
  check(response.headers.get("content-type").startsWith("audio/"), "it is no sound");
  return said(response.headers, sound);
}, PASSED);

scenario("files", async () => {
  const content = Uint8Array.from({ length: 16384 }, (_, at) => at % 256);
  const { data: file, response } = await client.files
    .create({ file: await toFile(content, "all.bin"), purpose: "user_data" })
    .withResponse();
  same([file.filename, file.bytes], ["all.bin", content.length], "the file");
  const listed = [];
  for await (const other of client.files.list()) listed.push(other.id);
  check(listed.includes(file.id), "the file is not listed");
  const read = new Uint8Array(await (await client.files.content(file.id)).arrayBuffer());
  check(read.length === content.length && read.every((byte, at) => byte === content[at]), "the content is another");
  same((await client.files.delete(file.id)).deleted, true, "whether it was deleted");
  return said(response.headers, null);
}, { sources: ["upstream"], calls: [4] });

scenario("batch", async () => {
  const line = {
    custom_id: "one", method: "POST", url: "/v1/chat/completions",
    body: { model: "gpt-5-mini", messages: [{ role: "user", content: "Hello." }] },
  };
  const asked = await toFile(Buffer.from(JSON.stringify(line)), "asked.jsonl");
  const file = await client.files.create({ file: asked, purpose: "batch" });
  const { data, response } = await client.batches
    .create({ input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" })
    .withResponse();
  // Each look at it is a step of its work.
  same((await client.batches.retrieve(data.id)).status, "in_progress", "its status at first");
  const batch = await client.batches.retrieve(data.id);
  same(batch.status, "completed", "its status");
  // What answers stand there aimock makes up.
  const answered = await (await client.files.content(batch.output_file_id)).text();
  check(answered.includes('"custom_id":"one"'), "the answer is not in the file");
  return said(response.headers, batch.request_counts);
}, { sources: ["upstream"], calls: [5] });

scenario("fine-tuning", async () => {
  const taught = await toFile(Buffer.from('{"messages": []}\n'), "taught.jsonl");
  const file = await client.files.create({ file: taught, purpose: "fine-tune" });
  const jobs = client.fineTuning.jobs;
  const { data, response } = await jobs
    .create({ model: "gpt-4o-mini-2024-07-18", training_file: file.id })
    .withResponse();
  const listed = [];
  for await (const job of jobs.list()) listed.push(job.id);
  check(listed.includes(data.id), `the jobs are ${listed}`);
  return said(response.headers, data);
}, { sources: ["upstream"], calls: [3] });

scenario("models", async () => {
  // This one is Refrain's own: what may be asked for.
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  check(names.includes("drill") && names.includes("drill-tools"), `the models are ${names}`);
  return { source: null, body: null };
}, { sources: [null], calls: [0] });
