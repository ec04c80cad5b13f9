// What the official `openai` package throws when something is wrong, with the caller or with the upstream.
//
// Each fault has an upstream of its own, so that no breaker or cooldown of one meets the next.

import OpenAI from "openai";

import { BASE, check, KEY, MODEL, said, same, scenario } from "./twice.mjs";

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY });
const chat = client.chat.completions;

// Refrain may try once more; an SDK that did, too, would double that.
const RETRIED = [1, 2];
const NEVER = { sources: [null, null] };
const once = (calls) => ({ sources: [null], calls });

const ask = (prompt, model) => chat.create({ model, messages: [{ role: "user", content: prompt }] });

/** Returns the error that an act throws, which must be of this class. */
async function thrown(kind, act) {
  try {
    await act();
  } catch (error) {
    check(error instanceof kind, `${error.constructor.name} was thrown, not ${kind.name}: ${error.message}`);
    return error;
  }
  throw new Error("it did not fail");
}

/** Returns an error as it is compared. */
const shown = ({ headers, status, code, type }) => said(headers, { status, code, type });

/** Registers a scenario in which the upstream cannot answer; the SDK must not try again on its own. */
function fails(name, prompt, model, status, calls) {
  scenario(name, async () => {
    const error = await thrown(OpenAI.InternalServerError, () => ask(prompt, model));
    same(error.status, status, "the status");
    same(error.headers.get("x-should-retry"), "false", "x-should-retry");
    check(!error.message.includes("Incorrect API key"), "the vendor's words about our key were passed on");
    return shown(error);
  }, once(calls));
}

scenario("fault: unknown model", async () => {
  const error = await thrown(OpenAI.NotFoundError, () => ask("Hello.", "nobody/knows-this"));
  same(error.code, "model_not_found", "the code");
  return shown(error);
}, NEVER);

scenario("fault: no messages", async () => {
  const error = await thrown(OpenAI.BadRequestError, () => chat.create({ model: "drill", messages: [] }));
  same(error.type, "invalid_request_error", "the type");
  check(error.message.includes("messages"), `the message does not name the field: ${error.message}`);
  return shown(error);
}, NEVER);

scenario("fault: wrong key", async () => {
  const stranger = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: "wrong" });
  const messages = [{ role: "user", content: "Hello." }];
  const act = () => stranger.chat.completions.create({ model: "drill", messages });
  return shown(await thrown(OpenAI.AuthenticationError, act));
}, NEVER);

scenario("fault: refused by the upstream", async () => {
  const act = () => ask("This will be refused as wrong.", `refusing/${MODEL}`);
  const error = await thrown(OpenAI.BadRequestError, act);
  check(error.message.includes("not to our taste"), `the message is ${error.message}`);
  return shown(error);
}, { ...NEVER, calls: [1] });

scenario("fault: too long", async () => {
  const error = await thrown(OpenAI.BadRequestError, () => ask("This will be too long.", `narrow/${MODEL}`));
  same(error.code, "context_length_exceeded", "the code");
  return shown(error);
}, { ...NEVER, calls: [1] });

fails("fault: limit", "This will meet a limit.", `limited/${MODEL}`, 503, [1]);
fails("fault: overload", "This will meet overload.", `overloaded/${MODEL}`, 503, RETRIED);
fails("fault: bad upstream key", "This will meet a bad key.", `keyless/${MODEL}`, 503, [1]);
fails("fault: route to no model", "This will meet no model.", "drill-missing", 503, [1]);

scenario("fault: free name of no model", async () => {
  const error = await thrown(OpenAI.NotFoundError, () => ask("This will meet no model.", `free/${MODEL}`));
  same(error.code, "model_not_found", "the code");
  return shown(error);
}, once([1]));

fails("fault: crash", "This will meet a crash.", `crashing/${MODEL}`, 502, RETRIED);
fails("fault: nonsense", "This will meet nonsense.", `babbling/${MODEL}`, 502, [1]);
fails("fault: hang-up", "This will meet a hang-up.", `rude/${MODEL}`, 502, RETRIED);
fails("fault: cut midway", "This will be cut midway.", `cutting/${MODEL}`, 502, RETRIED);

scenario("fault: stream cut midway", async () => {
  const messages = [{ role: "user", content: "This will be cut midway." }];
  const { data, response } = await chat.create({ model: `breaking/${MODEL}`, messages, stream: true }).withResponse();
  let text = "";
  const error = await thrown(OpenAI.APIError, async () => {
    for await (const chunk of data) text += chunk.choices[0].delta.content ?? "";
  });
  check(text.startsWith("This will not"), `before it broke: ${text}`);
  return said(response.headers, { type: error.type, code: error.code });
}, { sources: ["upstream", "upstream"], calls: [1] });
