// Responses through the official `openai` package.

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";

import {
  ADA, ANSWER_TOKENS, CITY, LOOKS_UP, ODD, Person, PIXEL, PROMPT_TOKENS, RIVERS,
} from "./answers.mjs";
import { BASE, check, KEY, MODEL, NEVER_CACHED, outline, said, same, scenario, VENDOR } from "./twice.mjs";
import { watching } from "./watching.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const responses = client.responses;

const WEATHER = { type: "function", name: "get_weather", description: LOOKS_UP, parameters: CITY, strict: true };
const OPENING = ["response.created", "response.in_progress", "response.output_item.added"];
const CLOSING = ["response.output_item.done", "response.completed"];
/** The events of an answer that is one text, runs of deltas taken for one. */
const TEXT_EVENTS = [
  ...OPENING,
  "response.content_part.added",
  "response.output_text.delta",
  "response.output_text.done",
  "response.content_part.done",
  ...CLOSING,
];
/** And of one that is one call. */
const CALL_EVENTS = [
  ...OPENING,
  "response.function_call_arguments.delta",
  "response.function_call_arguments.done",
  ...CLOSING,
];

/** Asks for a whole answer; returns it as it is said, and as the SDK has it. */
async function whole(input, { model = "drill", ...more } = {}) {
  const { data, response } = await responses.create({ model, input, ...more }).withResponse();
  return [said(response.headers, data), data];
}

/** Asks for a stream of plain events; returns the answer they end with, and their types. */
async function streamed(input, { model = "drill", ...more } = {}) {
  const { data, response } = await responses.create({ model, input, stream: true, ...more }).withResponse();
  const events = [];
  for await (const event of data) events.push(event);
  same(events.map((event) => event.sequence_number), events.map((_, at) => at), "the sequence numbers");
  const types = outline(events.map((event) => event.type));
  const answer = events.at(-1).response;
  return [said(response.headers, { answer, types }), answer, types];
}

/** Asks for a stream by the SDK's own helper, and returns what it makes of it. */
async function helped(input, { model = "drill", ...more } = {}) {
  const watch = watching();
  const watched = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, fetch: watch.fetch });
  const stream = watched.responses.stream({ model, input, ...more });
  const types = [];
  for await (const event of stream) types.push(event.type);
  const answer = await stream.finalResponse();
  return [said(watch.headers(), { answer, types: outline(types) }), answer];
}

function used({ usage }) {
  const counts = [usage.input_tokens, usage.output_tokens, usage.total_tokens];
  same(counts, [PROMPT_TOKENS, ANSWER_TOKENS, PROMPT_TOKENS + ANSWER_TOKENS], "usage");
}

const textOf = ({ output }) =>
  output.filter((item) => item.type === "message").flatMap((item) => item.content).map((part) => part.text).join("");

/** Checks which cities the weather was asked for. */
function called({ output }, ...cities) {
  const calls = output.filter((item) => item.type === "function_call");
  check(calls.every((call) => call.call_id), "a call without an id");
  const found = calls.map((call) => [call.name, JSON.parse(call.arguments)]);
  same(found, cities.map((city) => ["get_weather", { city }]), "the calls");
}

/** Registers a scenario whose answer, and whose events, are looked at and compared. */
function expect(name, ask, look, options) {
  scenario(name, async () => {
    const [answer, it, types] = await ask();
    look(it, types);
    return answer;
  }, options);
}

const says = (text) => (answer) => same(textOf(answer), text, "the text");
const never = { sources: NEVER_CACHED };

expect("responses", () => whole("Respond in plain words."), (it) => {
  same([it.output_text, it.status, it.error, it.object], [RIVERS, "completed", null, "response"], "the answer");
  if (VENDOR !== "azure") same(it.model, MODEL, "model");
  used(it);
});
expect("responses stream", () => streamed("Stream a response of plain words."), (it, types) => {
  same(types, TEXT_EVENTS, "the events");
  says(RIVERS)(it);
  used(it);
});
expect("responses stream helper", () => helped("Help me to a response of plain words."), (it) => {
  says(RIVERS)(it);
  used(it);
});

const odd = (answer) => check(textOf(answer).includes(ODD), `the text is ${textOf(answer)}`);
expect("responses odd characters", () => whole("Respond with odd characters."), odd);
expect("responses stream odd characters", () => streamed("Stream a response of odd characters."), odd);
expect("responses stream of many pieces", () => streamed("Respond in many pieces."), (it) => {
  same(textOf(it).split(" "), Array.from({ length: 400 }, (_, at) => `word${at}`), "the text");
});

expect("responses instructions", () => whole([
  { role: "developer", content: "Answer briefly." },
  { role: "user", content: [{ type: "input_text", text: "Respond: who are you?" }] },
], { instructions: "You are a pirate." }), says("Arr."));
expect("responses earlier turns", () => whole([
  { role: "user", content: "I am Ada." },
  { type: "message", role: "assistant", content: [{ type: "output_text", text: "Hello Ada." }] },
  { role: "user", content: "Respond: and what was my name?" },
]), says("Your name is Ada."));
expect("responses settings", () => whole("Respond when my settings arrive.", {
  temperature: 0.3, max_output_tokens: 77, store: false,
}), says("They did."));
expect("responses image", () => whole([{ role: "user", content: [
  { type: "input_text", text: "Respond: describe this picture." },
  { type: "input_image", image_url: `data:image/png;base64,${PIXEL}`, detail: "auto" },
] }]), says("A single red pixel."));

const text = { format: zodTextFormat(Person, "person") };
const parsed = (answer) => same(answer.output_parsed, ADA, "the parsed answer");
expect("responses JSON schema", async () => {
  const input = "Respond with a person as JSON.";
  const { data, response } = await responses.parse({ model: "drill", input, text }).withResponse();
  return [said(response.headers, data), data];
}, parsed);
expect("responses stream JSON schema", () => helped("Stream a response with a person as JSON.", { text }), parsed);

const tools = [WEATHER];
const stored = { model: "drill-tools", tools };
const paris = (answer) => called(answer, "Paris");
const streamedParis = (answer, types) => {
  same(types, CALL_EVENTS, "the events");
  paris(answer);
};
expect("responses tool", () => whole("Respond with the weather.", { tools }), paris, never);
expect("responses tool stored", () => whole("Respond with the weather.", stored), (it) => {
  paris(it);
  used(it);
});
expect("responses stream tool", () => streamed("Stream a response with the weather.", { tools }), streamedParis, never);
expect("responses stream tool stored", () => streamed("Stream a response with the weather.", stored), streamedParis);
expect("responses two tools stored", () => whole("Respond with weather in two cities.", stored), (it) => {
  called(it, "Paris", "Rome");
});
expect(
  "responses stream text and tool stored",
  () => helped("Respond, but say first, then look up.", stored),
  (it) => {
    says("Let me look that up.")(it);
    paris(it);
  },
);
expect(
  "responses stream tool before text stored",
  () => helped("Respond, but look up first, then say.", stored),
  (it) => {
    says("I am looking it up.")(it);
    paris(it);
  },
);
expect("responses tool result", () => whole([
  { role: "user", content: "Respond: and the weather now?" },
  { type: "function_call", call_id: "call_paris", name: "get_weather", arguments: '{"city":"Paris"}' },
  { type: "function_call_output", call_id: "call_paris", output: "21 degrees" },
], { tools }), says("It is 21 degrees in Paris."));

const thought = (answer) => {
  says("It is 42.")(answer);
  const [{ type, content }] = answer.output;
  same([type, content[0].text], ["reasoning", "Six times seven."], "the thought");
};
const reasoning = { effort: "low" };
expect("responses reasoning", () => whole("Respond, but think about it.", { reasoning }), thought);
expect("responses stream reasoning", () => helped("Stream a response, but think about it.", { reasoning }), thought);
expect("responses cut by length", () => whole("Respond until you run out of room."), (it) => {
  same([it.status, it.incomplete_details.reason], ["incomplete", "max_output_tokens"], "how it ended");
  says("This ends in the")(it);
}, never);
expect("responses stream cut by length", () => streamed("Stream a response until you run out of room."), (it, types) => {
  same([types.at(-1), it.status], ["response.incomplete", "incomplete"], "how it ended");
}, never);

let times = 0;
scenario("responses asked whole, then streamed", async () => {
  const prompt = "Respond in plain words, whole and streamed.";
  times += 1;
  const [answer, it] = times % 2 ? await whole(prompt) : await streamed(prompt);
  used(it);
  return { source: answer.source, body: textOf(it) };
});

scenario("responses that need what we do not keep", async () => {
  try {
    await responses.create({ model: "drill", input: "And then?", previous_response_id: "resp_1" });
  } catch (error) {
    check(error instanceof OpenAI.BadRequestError, `${error.constructor.name} was thrown: ${error.message}`);
    check(error.message.includes("previous_response_id"), `the message does not name the field: ${error.message}`);
    return said(error.headers, { code: error.code, param: error.param });
  }
  throw new Error("it did not fail");
}, { sources: [null, null] });

scenario("responses stream cut midway", async () => {
  const asked = { model: `snapping/${MODEL}`, input: "This response will be cut midway.", stream: true };
  const { data, response } = await responses.create(asked).withResponse();
  const events = [];
  try {
    for await (const event of data) events.push(event.type);
  } catch (error) {
    events.push(error.constructor.name);
  }
  check(["error", "response.failed", "APIError"].includes(events.at(-1)), `it ended with ${events.at(-1)}`);
  check(!events.includes("response.completed"), "it says that it is complete");
  return said(response.headers, events.at(-1));
}, { sources: ["upstream", "upstream"], calls: [1] });
