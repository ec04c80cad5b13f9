// What the official `@anthropic-ai/sdk` package throws when something is wrong, with the caller or with the upstream.
//
// Each fault has an upstream of its own, so that no breaker or cooldown of one meets the next.

import Anthropic from "@anthropic-ai/sdk";

import { BASE, check, KEY, MODEL, said, same, scenario } from "./twice.mjs";

const client = new Anthropic({ baseURL: BASE, apiKey: KEY });

// Refrain may try once more; an SDK that did, too, would double that.
const RETRIED = [1, 2];
const NEVER = { sources: [null, null] };
const once = (calls) => ({ sources: [null], calls });

const user = (content) => [{ role: "user", content }];
const ask = (prompt, model) => client.messages.create({ model, messages: user(prompt), max_tokens: 100 });

/** Returns the error that an act throws, which must be of this class and have Anthropic's shape and one of these types. */
async function thrown(kind, types, act) {
  try {
    await act();
  } catch (error) {
    check(error instanceof kind, `${error.constructor.name} was thrown, not ${kind.name}: ${error.message}`);
    same(error.error?.type, "error", "the type of the body");
    const type = error.error.error?.type;
    check(types.includes(type), `the type of the error is ${type}, not one of ${types}`);
    return error;
  }
  throw new Error("it did not fail");
}

/** Returns an error as it is compared. */
const shown = ({ headers, status, error }) => said(headers, { status, type: error.error.type });

/** Registers a scenario in which the upstream cannot answer; the SDK must not try again on its own. */
function fails(name, prompt, model, status, calls) {
  scenario(name, async () => {
    const types = ["api_error", "overloaded_error"];
    const error = await thrown(Anthropic.InternalServerError, types, () => ask(prompt, model));
    same(error.status, status, "the status");
    same(error.headers.get("x-should-retry"), "false", "x-should-retry");
    check(!error.message.includes("Incorrect API key"), "the vendor's words about our key were passed on");
    return shown(error);
  }, once(calls));
}

/** Registers a scenario in which the caller is at fault. */
function refuses(name, kind, type, act, { says = "", ...options } = {}) {
  scenario(name, async () => {
    const error = await thrown(kind, [type], act);
    check(error.message.includes(says), `the message is ${error.message}`);
    return shown(error);
  }, { ...NEVER, ...options });
}

const { AuthenticationError, BadRequestError, NotFoundError } = Anthropic;
const bad = "invalid_request_error";
refuses("fault: unknown model", NotFoundError, "not_found_error", () => ask("Hello.", "nobody/knows-this"));
refuses("fault: no messages", BadRequestError, bad, () =>
  client.messages.create({ model: "drill", messages: [], max_tokens: 100 }), { says: "messages" });
refuses("fault: no max_tokens", BadRequestError, bad, () =>
  client.messages.create({ model: "drill", messages: user("Hello.") }), { says: "max_tokens" });
refuses("fault: wrong key", AuthenticationError, "authentication_error", () =>
  new Anthropic({ baseURL: BASE, apiKey: "wrong" })
    .messages.create({ model: "drill", messages: user("Hello."), max_tokens: 100 }));
refuses("fault: refused by the upstream", BadRequestError, bad, () =>
  ask("This will be refused as wrong.", `refusing/${MODEL}`), { says: "not to our taste", calls: [1] });
refuses("fault: too long", BadRequestError, bad, () => ask("This will be too long.", `narrow/${MODEL}`), { calls: [1] });
refuses("fault: free name of no model", NotFoundError, "not_found_error", () =>
  ask("This will meet no model.", `free/${MODEL}`), once([1]));

fails("fault: limit", "This will meet a limit.", `limited/${MODEL}`, 503, [1]);
fails("fault: overload", "This will meet overload.", `overloaded/${MODEL}`, 503, RETRIED);
fails("fault: bad upstream key", "This will meet a bad key.", `keyless/${MODEL}`, 503, [1]);
fails("fault: route to no model", "This will meet no model.", "drill-missing", 503, [1]);
fails("fault: crash", "This will meet a crash.", `crashing/${MODEL}`, 502, RETRIED);
fails("fault: nonsense", "This will meet nonsense.", `babbling/${MODEL}`, 502, [1]);
fails("fault: hang-up", "This will meet a hang-up.", `rude/${MODEL}`, 502, RETRIED);
fails("fault: cut midway", "This will be cut midway.", `cutting/${MODEL}`, 502, RETRIED);

scenario("fault: key in the older header", async () => {
  // What packages before the version of 2026 send: `x-api-key`, and the version of 2023.
  const older = new Anthropic({
    baseURL: BASE,
    apiKey: null,
    authToken: null,
    defaultHeaders: { "x-api-key": KEY, "anthropic-version": "2023-06-01" },
  });
  const messages = user("Some plain words for an older package.");
  const { data, response } = await older.messages.create({ model: "drill", messages, max_tokens: 100 }).withResponse();
  return said(response.headers, data);
}, { sources: ["upstream"] });

scenario("fault: stream cut midway", async () => {
  const messages = user("This will be cut midway.");
  const asked = { model: `breaking/${MODEL}`, messages, max_tokens: 100, stream: true };
  const { data, response } = await client.messages.create(asked).withResponse();
  const types = [];
  try {
    for await (const event of data) types.push(event.type);
  } catch (error) {
    check(error instanceof Anthropic.APIError, `${error.constructor.name} was thrown: ${error.message}`);
    same(error.error?.type, "error", "the type of the body");
    check(!types.includes("message_stop"), "it says that it is complete");
    return said(response.headers, error.error.error.type);
  }
  throw new Error(`it did not fail: ${types}`);
}, { sources: ["upstream", "upstream"], calls: [1] });
