// What the official `@anthropic-ai/sdk` package does of its own accord: tools that it runs, and conversations that it keeps.

import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";

import { CITY, LOOKS_UP, RIVERS } from "./answers.mjs";
import { BASE, check, KEY, lasting, same, scenario } from "./twice.mjs";

// These helpers keep the headers to themselves.
const seen = [];
const client = new Anthropic({
  baseURL: BASE,
  apiKey: KEY,
  fetch: async (...request) => {
    const response = await fetch(...request);
    if (response.ok) seen.push(response.headers.get("x-cache-source"));
    return response;
  },
});
const messages = client.beta.messages;

/** Two answers each time. */
const twoCached = { sources: ["upstream upstream", "exact exact"], calls: [0, 2] };

const tools = [betaTool({
  name: "get_weather",
  description: LOOKS_UP,
  inputSchema: CITY,
  run: ({ city }) => (city === "Paris" ? "21 degrees" : "unknown"),
})];

const user = (content) => ({ role: "user", content });

/** Returns what was said, in answers, and where each came from. */
const told = (answers) => ({ source: seen.splice(0).join(" "), body: lasting(answers) });

/** Checks a call, and the answer to its result. */
function ran(answers) {
  same(answers.map((answer) => answer.stop_reason), ["tool_use", "end_turn"], "how the turns ended");
  same(answers.at(-1).content[0].text, "It is 21 degrees in Paris.", "the text");
}

scenario("beta messages", async () => {
  const asked = [user("Some plain words of a beta.")];
  const answer = await messages.create({ model: "drill", messages: asked, max_tokens: 100, betas: ["drill-2026-01-01"] });
  same(answer.content[0].text, RIVERS, "the text");
  return told([answer]);
});

scenario("beta messages tool runner stored", async () => {
  // It asks for a thread unasked, and does without when there is none to go on with.
  const asked = [user("Run and look up the weather.")];
  const answers = [];
  for await (const answer of messages.toolRunner({ model: "drill-tools", messages: asked, max_tokens: 100, tools })) {
    answers.push(answer);
  }
  ran(answers);
  return told(answers);
}, twoCached);

scenario("beta messages stream tool runner stored", async () => {
  const asked = [user("Run, stream and look up the weather.")];
  const answers = [];
  const runner = messages.toolRunner({ model: "drill-tools", messages: asked, max_tokens: 100, tools, stream: true });
  for await (const stream of runner) answers.push(await stream.finalMessage());
  ran(answers);
  return told(answers);
}, twoCached);

scenario("beta messages thread", async () => {
  const thread = messages.thread({ model: "drill", max_tokens: 100 });
  const answers = [];
  for (const text of ["Some plain words of a thread.", "And more plain words of it."]) {
    answers.push(await thread.send(user(text)));
  }
  check(answers.every((answer) => answer.content[0].text === RIVERS), `the answers are ${JSON.stringify(answers)}`);
  return told(answers);
}, twoCached);
