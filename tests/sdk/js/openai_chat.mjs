// Chat Completions through the official `openai` package.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";

import {
  ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, Person, PIXEL, PROMPT_TOKENS, RIVERS,
} from "./answers.mjs";
import { BASE, check, KEY, MODEL, NEVER_CACHED, said, same, scenario, VENDOR } from "./twice.mjs";
import { watching } from "./watching.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const chat = client.chat.completions;

const WEATHER = {
  type: "function",
  function: { name: "get_weather", description: LOOKS_UP, parameters: CITY },
};

const user = (text) => [{ role: "user", content: text }];
const textOf = (answer) => answer.choices[0].message.content;

/** Asks for a whole answer; returns it as it is said, and as the SDK has it. */
async function whole(messages, { model = "drill", ...more } = {}) {
  const { data, response } = await chat.create({ model, messages, ...more }).withResponse();
  return [said(response.headers, data), data];
}

/** Asks for a stream; returns what its chunks come to. */
async function streamed(messages, { model = "drill", ...more } = {}) {
  const { data, response } = await chat.create({ model, messages, stream: true, ...more }).withResponse();
  const chunks = [];
  for await (const chunk of data) chunks.push(chunk);
  return [response.headers, chunks];
}

/** Asks for a stream by the SDK's own helper, and returns what it makes of it. */
async function helped(messages, { model = "drill", ...more } = {}) {
  const watch = watching();
  const watched = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, fetch: watch.fetch });
  const stream = watched.chat.completions.stream({ model, messages, ...more });
  const events = new Set();
  for (const name of ["content.delta", "content.done", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"]) {
    stream.on(name, () => events.add(name));
  }
  const answer = await stream.finalChatCompletion();
  return [said(watch.headers(), { answer, events: [...events] }), answer];
}

function used({ usage }) {
  const counts = [usage.prompt_tokens, usage.completion_tokens, usage.total_tokens];
  same(counts, [PROMPT_TOKENS, ANSWER_TOKENS, PROMPT_TOKENS + ANSWER_TOKENS], "usage");
}

/** Checks which cities the weather was asked for. */
function called(answer, ...cities) {
  const { finish_reason, message } = answer.choices[0];
  same(finish_reason, "tool_calls", "finish_reason");
  check(message.tool_calls.every((call) => call.id), "a call without an id");
  const found = message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  same(found, cities.map((city) => ["get_weather", { city }]), "the calls");
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

expect("chat", () => whole(user("Some plain words, please.")), (it) => {
  says(RIVERS)(it);
  same(it.choices[0].finish_reason, "stop", "finish_reason");
  if (VENDOR !== "azure") same(it.model, MODEL, "model");
  used(it);
});

scenario("chat stream", async () => {
  const [headers, chunks] = await streamed(user("A stream of plain words."), { stream_options: { include_usage: true } });
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
  same(text, RIVERS, "the text");
  same(new Set(chunks.map((chunk) => chunk.id)).size, 1, "the number of ids");
  same(chunks.findIndex((chunk) => chunk.usage), chunks.length - 1, "the place of the usage");
  same(chunks.at(-1).choices, [], "the choices of the last chunk");
  used(chunks.at(-1));
  const finishes = chunks.map((chunk) => chunk.choices[0]?.finish_reason).filter(Boolean);
  same(finishes, ["stop"], "finish reasons");
  return said(headers, { text, usage: chunks.at(-1).usage, model: chunks[0].model });
});

scenario("chat stream without usage", async () => {
  const [headers, chunks] = await streamed(user("A stream of plain words, uncounted."));
  check(chunks.every((chunk) => !chunk.usage), "usage that was not asked for");
  check(chunks.every((chunk) => chunk.choices.length === 1), "a chunk without a choice");
  return said(headers, chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""));
});

expect(
  "chat stream helper",
  () => helped(user("Help me to some plain words."), { stream_options: { include_usage: true } }),
  (it) => {
    says(RIVERS)(it);
    used(it);
  },
);

const odd = (answer) => check(textOf(answer).includes(ODD), `the text is ${textOf(answer)}`);
expect("chat odd characters", () => whole(user("Give me odd characters.")), odd);
expect("chat stream odd characters", () => helped(user("Stream me odd characters.")), odd);
expect("chat stream of many pieces", () => helped(user("Now many pieces.")), (it) => {
  same(textOf(it).split(" "), Array.from({ length: 400 }, (_, at) => `word${at}`), "the text");
});
expect("chat stream that takes its time", () => helped(user("Please take your time.")), says("Slow and steady."));

expect("chat system text", () => whole([
  { role: "system", content: "You are a pirate." },
  { role: "developer", content: "Answer briefly." },
  { role: "user", content: "And who are you?" },
]), says("Arr."));

expect("chat earlier turns", () => whole([
  { role: "user", content: "I am Ada." },
  { role: "assistant", content: "Hello Ada." },
  { role: "user", content: [{ type: "text", text: "and what was my name?" }] },
]), says("Your name is Ada."));

// Anthropic knows no seed, and its models take one of temperature and top_p.
expect("chat settings", () => whole(user("See that my settings arrive."), {
  temperature: 0.3, max_completion_tokens: 77, ...(VENDOR === "anthropic" ? {} : { top_p: 0.9, seed: 5 }),
}), says("They did."));

expect("chat image", () => whole([{ role: "user", content: [
  { type: "text", text: "Please describe this picture." },
  { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } },
] }]), says("A single red pixel."));

const parsed = (answer) => same(answer.choices[0].message.parsed, ADA, "the parsed answer");
const response_format = zodResponseFormat(Person, "person");
expect("chat JSON schema", async () => {
  const messages = user("Give me a person as JSON.");
  const { data, response } = await chat.parse({ model: "drill", messages, response_format }).withResponse();
  return [said(response.headers, data), data];
}, parsed);
expect("chat stream JSON schema", () => helped(user("Stream me a person as JSON."), { response_format }), parsed);

/** Registers a scenario that asks for what Anthropic's format has no words for: an answer without it would be another one. */
function expectUnlessAnthropic(name, prompt, asked, look) {
  if (VENDOR !== "anthropic") return expect(name, () => whole(user(prompt), asked), look);
  scenario(name, async () => {
    const [field] = Object.keys(asked);
    try {
      await whole(user(prompt), asked);
    } catch (error) {
      check(error instanceof OpenAI.BadRequestError, `${error.constructor.name} was thrown: ${error.message}`);
      check(error.message.includes(field), `the message does not name the field: ${error.message}`);
      same([error.param, error.code], [field, "unsupported_parameter"], "param and code");
      return said(error.headers, { type: error.type });
    }
    throw new Error("it did not fail");
  }, { sources: [null, null] });
}
expectUnlessAnthropic("chat JSON mode", "Just a person as JSON.", { response_format: { type: "json_object" } }, (it) => {
  same(JSON.parse(textOf(it)), ADA, "the object");
});
expectUnlessAnthropic("chat seed", "Some plain words with a seed.", { seed: 5 }, says(RIVERS));

const tools = [WEATHER];
const stored = { model: "drill-tools", tools };
const paris = (answer) => called(answer, "Paris");
const both = (answer) => called(answer, "Paris", "Rome");
expect("chat tool", () => whole(user("Tell me the weather."), { tools }), paris, never);
expect("chat tool stored", () => whole(user("Tell me the weather."), stored), (it) => {
  paris(it);
  used(it);
});
expect("chat stream tool", () => helped(user("Stream me the weather."), { tools }), paris, never);
expect("chat stream tool stored", () => helped(user("Stream me the weather."), stored), paris);
expect(
  "chat two tools stored",
  () => whole(user("Get me weather in two cities."), { ...stored, tool_choice: "required" }),
  both,
);
expect("chat stream two tools stored", () => helped(user("Stream me weather in two cities."), stored), both);

const talked = (answer) => {
  says("Let me look that up.")(answer);
  paris(answer);
};
expect("chat text and tool stored", () => whole(user("You may say first, then look up."), stored), talked);
expect("chat stream text and tool stored", () => helped(user("Do stream: say first, then look up."), stored), talked);

const announced = (answer) => {
  says("I am looking it up.")(answer);
  paris(answer);
};
expect("chat tool before text stored", () => whole(user("You may look up first, then say."), stored), announced);
expect(
  "chat stream tool before text stored",
  () => helped(user("Do stream: look up first, then say."), stored),
  announced,
);

expect("chat tool result", () => {
  const call = { id: "call_paris", type: "function", function: { name: "get_weather", arguments: '{"city":"Paris"}' } };
  return whole([
    ...user("And the weather now?"),
    { role: "assistant", content: null, tool_calls: [call] },
    { role: "tool", tool_call_id: "call_paris", content: "21 degrees" },
  ], { tools });
}, says("It is 21 degrees in Paris."));

scenario("chat tool runner stored", async () => {
  const seen = [];
  const watched = new OpenAI({
    baseURL: `${BASE}/v1`,
    apiKey: KEY,
    fetch: async (...request) => {
      const response = await fetch(...request);
      seen.push(response.headers.get("x-cache-source"));
      return response;
    },
  });
  const run = (text) => (JSON.parse(text).city === "Paris" ? "21 degrees" : "unknown");
  const tool = { type: "function", function: { ...WEATHER.function, function: run } };
  const messages = user("Run and look up the weather.");
  const runner = watched.chat.completions.runTools({ model: "drill-tools", messages, tools: [tool] });
  const text = await runner.finalContent();
  same(text, "It is 21 degrees in Paris.", "the text");
  return { source: seen.join(" "), body: text };
}, { sources: ["upstream upstream", "exact exact"], calls: [0, 2] });

expect("chat reasoning", () => whole(user("Do think about it."), { reasoning_effort: "low" }), (it) => {
  says("It is 42.")(it);
  // A field that the package does not know and shows all the same.
  same(it.choices[0].message.reasoning_content, "Six times seven.", "the thought");
});
expect(
  "chat stream reasoning",
  () => helped(user("Stream, but think about it."), { reasoning_effort: "low" }),
  says("It is 42."),
);

expect("chat cut by length", () => whole(user("You will run out of room.")), (it) => {
  same([textOf(it), it.choices[0].finish_reason], ["This ends in the", "length"], "the text and its end");
}, never);
expect("chat filtered", () => whole(user("This will be filtered.")), (it) => {
  same(it.choices[0].finish_reason, "content_filter", "finish_reason");
}, never);

let times = 0;
scenario("chat asked whole, then streamed", async () => {
  // One stored form serves both: every other time of asking is a stream.
  const prompt = user("Some plain words, whole and streamed.");
  times += 1;
  const [answer, it] = times % 2 ? await whole(prompt) : await helped(prompt, { stream_options: { include_usage: true } });
  used(it);
  return { source: answer.source, body: textOf(it) };
});
