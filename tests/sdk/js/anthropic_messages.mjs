// Messages through the official `@anthropic-ai/sdk` package.

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";

import {
  ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, Person, PIXEL, PROMPT_TOKENS, RIVERS,
} from "./answers.mjs";
import { BASE, check, KEY, MODEL, NEVER_CACHED, outline, said, same, scenario, VENDOR } from "./twice.mjs";
import { watching } from "./watching.mjs";

const client = new Anthropic({ baseURL: BASE, apiKey: KEY });
const messages = client.messages;

const WEATHER = { name: "get_weather", description: LOOKS_UP, input_schema: CITY };
const THINKING = { thinking: { type: "enabled", budget_tokens: 1024 } };
const BLOCK = ["content_block_start", "content_block_delta", "content_block_stop"];

const user = (content) => [{ role: "user", content }];
const textOf = ({ content }) => content.map((block) => (block.type === "text" ? block.text : "")).join("");

/** Asks for a whole answer; returns it as it is said, and as the SDK has it. */
async function whole(asked, { model = "drill", max_tokens = 2048, ...more } = {}) {
  const { data, response } = await messages.create({ model, messages: asked, max_tokens, ...more }).withResponse();
  return [said(response.headers, data), data];
}

/** Asks for a stream by the SDK's own helper; returns what it makes of it. */
async function streamed(asked, { model = "drill", max_tokens = 2048, ...more } = {}) {
  const stream = messages.stream({ model, messages: asked, max_tokens, ...more });
  const types = [];
  stream.on("streamEvent", (event) => types.push(event.type));
  const { response } = await stream.withResponse();
  const answer = await stream.finalMessage();
  return [said(response.headers, { answer, types: outline(types) }), answer];
}

function used({ usage }) {
  same([usage.input_tokens, usage.output_tokens], [PROMPT_TOKENS, ANSWER_TOKENS], "usage");
}

/** Checks which cities the weather was asked for. */
function called({ content, stop_reason }, ...cities) {
  same(stop_reason, "tool_use", "stop_reason");
  const calls = content.filter((block) => block.type === "tool_use");
  check(calls.every((call) => call.id), "a call without an id");
  same(calls.map((call) => [call.name, call.input]), cities.map((city) => ["get_weather", { city }]), "the calls");
}

/** Registers a scenario whose answer is looked at and compared. */
function expect(name, ask, look, options) {
  scenario(name, async () => {
    const [answer, it] = await ask();
    look(it);
    return answer;
  }, options);
}

const says = (text) => (answer) => same(textOf(answer), text, "the text");
const never = { sources: NEVER_CACHED };

expect("messages", () => whole(user("A message of plain words.")), (it) => {
  same([textOf(it), it.stop_reason, it.role, it.type], [RIVERS, "end_turn", "assistant", "message"], "the answer");
  if (VENDOR !== "azure") same(it.model, MODEL, "model");
  used(it);
});

scenario("messages stream", async () => {
  const asked = { model: "drill", messages: user("Stream a message of plain words."), max_tokens: 2048, stream: true };
  const { data, response } = await messages.create(asked).withResponse();
  const events = [];
  for await (const event of data) events.push(event);
  const types = outline(events.map((event) => event.type));
  same(types, ["message_start", ...BLOCK, "message_delta", "message_stop"], "the events");
  const deltas = events.filter((event) => event.type === "content_block_delta");
  const text = deltas.map((event) => event.delta.text).join("");
  same(text, RIVERS, "the text");
  const [start, end] = [events[0].message, events.at(-2)];
  same([start.content, start.stop_reason, start.role], [[], null, "assistant"], "the message at its start");
  same([end.delta.stop_reason, end.usage.output_tokens], ["end_turn", ANSWER_TOKENS], "the message at its end");
  return said(response.headers, { text, types, usage: end.usage });
});

expect("messages stream helper", () => streamed(user("Help me to a message of plain words.")), (it) => {
  same([textOf(it), it.stop_reason], [RIVERS, "end_turn"], "the answer");
  used(it);
});

const odd = (answer) => check(textOf(answer).includes(ODD), `the text is ${textOf(answer)}`);
expect("messages odd characters", () => whole(user("A message of odd characters.")), odd);
expect("messages stream odd characters", () => streamed(user("Stream a message of odd characters.")), odd);
expect("messages stream of many pieces", () => streamed(user("A message in many pieces.")), (it) => {
  same(textOf(it).split(" "), Array.from({ length: 400 }, (_, at) => `word${at}`), "the text");
});

const system = [{ type: "text", text: "You are a pirate." }, { type: "text", text: "Answer briefly." }];
expect("messages system text", () => whole(user("A message: who are you?"), { system }), says("Arr."));
expect("messages earlier turns", () => whole([
  { role: "user", content: "I am Ada." },
  { role: "assistant", content: [{ type: "text", text: "Hello Ada." }] },
  { role: "user", content: "A message: and what was my name?" },
]), says("Your name is Ada."));
expect("messages system text between turns", () => whole([
  { role: "user", content: "I cannot hear well." },
  { role: "system", content: "Speak lowly." },
  { role: "assistant", content: "Aye." },
  { role: "user", content: "A message: and what did we agree?" },
], { system: "You are a pirate." }), says("To speak lowly, arr."));
expect("messages settings", () => whole(user("A message when my settings arrive."), {
  max_tokens: 77, temperature: 0.3, stop_sequences: ["END"], metadata: { user_id: "ada" },
}), says("They did."));
expect("messages image", () => whole(user([
  { type: "image", source: { type: "base64", media_type: "image/png", data: PIXEL } },
  { type: "text", text: "A message: describe this picture." },
])), says("A single red pixel."));

const output_config = { format: zodOutputFormat(Person) };
const parsed = (answer) => same(answer.parsed_output, ADA, "the parsed answer");
expect("messages JSON schema", async () => {
  const asked = { model: "drill", messages: user("A message with a person as JSON."), max_tokens: 2048, output_config };
  const watch = watching();
  const watched = new Anthropic({ baseURL: BASE, apiKey: KEY, fetch: watch.fetch });
  const data = await watched.messages.parse(asked);
  return [said(watch.headers(), data), data];
}, parsed);
expect(
  "messages stream JSON schema",
  () => streamed(user("Stream a message with a person as JSON."), { output_config }),
  parsed,
);

const tools = [WEATHER];
const stored = { model: "drill-tools", tools };
const paris = (answer) => called(answer, "Paris");
expect("messages tool", () => whole(user("A message with the weather."), { tools }), paris, never);
expect("messages tool stored", () => whole(user("A message with the weather."), stored), (it) => {
  paris(it);
  used(it);
});
expect("messages stream tool", () => streamed(user("Stream a message with the weather."), { tools }), paris, never);
expect("messages stream tool stored", () => streamed(user("Stream a message with the weather."), stored), paris);
expect("messages two tools stored", () => whole(user("A message with weather in two cities."), {
  ...stored, tool_choice: { type: "any" },
}), (it) => called(it, "Paris", "Rome"));
expect(
  "messages stream text and tool stored",
  () => streamed(user("A message: say first, then look up."), stored),
  (it) => {
    same(it.content.map((block) => block.type), ["text", "tool_use"], "the blocks");
    says("Let me look that up.")(it);
    paris(it);
  },
);

/** Checks a call with words after it, which only a whole answer of OpenAI's cannot tell from words before it. */
function announced(answer) {
  const types = answer.content.map((block) => block.type);
  same(types.toSorted(), ["text", "tool_use"], "the blocks");
  if (["anthropic", "gemini"].includes(VENDOR)) same(types, ["tool_use", "text"], "the blocks in order");
  says("I am looking it up.")(answer);
  paris(answer);
}
expect("messages tool before text stored", () => whole(user("A message: look up first, then say."), stored), announced);
expect(
  "messages stream tool before text stored",
  () => streamed(user("Stream a message: look up first, then say."), stored),
  announced,
);
expect("messages tool result", () => whole([
  ...user("A message: and the weather now?"),
  { role: "assistant", content: [{ type: "tool_use", id: "call_paris", name: "get_weather", input: { city: "Paris" } }] },
  { role: "user", content: [{ type: "tool_result", tool_use_id: "call_paris", content: "21 degrees" }] },
], { tools }), says("It is 21 degrees in Paris."));

/** Checks what may be seen of the thinking: what the same vendor signed. */
function thought(answer) {
  says("It is 42.")(answer);
  if (VENDOR !== "anthropic") return;
  const { type, thinking, signature } = answer.content[0];
  same([type, thinking, signature], ["thinking", "Six times seven.", "c2lnbmVk"], "the thought");
}
expect("messages thinking", () => whole(user("A message, but think about it."), THINKING), thought);
expect("messages stream thinking", () => streamed(user("Stream a message, but think about it."), THINKING), thought);
expect("messages hidden thinking", () => whole(user("A message, but think in secret."), THINKING), (it) => {
  says("It is 42.")(it);
  if (VENDOR === "anthropic") same([it.content[0].type, it.content[0].data], ["redacted_thinking", "b3BhcXVl"], "the thought");
});
expect(
  "messages stream hidden thinking",
  () => streamed(user("Stream a message, but think in secret."), THINKING),
  says("It is 42."),
);

expect("messages cut by length", () => whole(user("A message until you run out of room.")), (it) => {
  same([textOf(it), it.stop_reason], ["This ends in the", "max_tokens"], "the text and its end");
}, never);
expect("messages filtered", () => whole(user("A message that will be filtered.")), (it) => {
  same(it.stop_reason, "refusal", "stop_reason");
}, never);

let times = 0;
scenario("messages asked whole, then streamed", async () => {
  const prompt = user("A message of plain words, whole and streamed.");
  times += 1;
  const [answer, it] = times % 2 ? await whole(prompt) : await streamed(prompt);
  used(it);
  return { source: answer.source, body: textOf(it) };
});

scenario("messages count tokens", async () => {
  const asked = { model: "drill", messages: user("How many tokens are these?"), system: "Count.", tools };
  const { data, response } = await messages.countTokens(asked).withResponse();
  const counted = data.input_tokens;
  // The upstream says 17 whatever it is asked; where nobody counts, it is an estimate.
  check(VENDOR === "anthropic" ? counted === 17 : counted > 0 && counted < 200, `it counted ${counted}`);
  return said(response.headers, counted);
}, { sources: [null, null], calls: [0, 1] });

// Gemini knows no more of it.
expect("messages effort", () => whole(user("A message of plain words, with effort."), {
  output_config: { effort: VENDOR === "gemini" ? "high" : "max" },
}), says(RIVERS));

scenario("models", async () => {
  // What may be asked for; one list serves both vendors' packages.
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  check(listed.includes("drill") && listed.includes("drill-tools"), `the models are ${listed}`);
  return { source: null, body: null };
}, { sources: [null], calls: [0] });
