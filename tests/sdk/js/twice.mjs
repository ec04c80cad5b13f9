// Asks everything twice, and compares: the second answer must come from the cache and be the same for the SDK's user.

import { isDeepStrictEqual } from "node:util";

export const BASE = process.env.DRILL_BASE;
export const KEY = process.env.DRILL_KEY;
// Whose manners the upstream has, and the model that it is asked for.
export const VENDOR = process.env.DRILL_VENDOR;
export const MODEL = process.env.DRILL_MODEL;
const UPSTREAM = process.env.DRILL_UPSTREAM;
const UPSTREAM_KEY = process.env.DRILL_UPSTREAM_KEY;
const ONLY = process.env.DRILL_ONLY ?? "*";

export const CACHED = ["upstream", "exact"];
export const NEVER_CACHED = ["upstream", "upstream"];

// What may differ between an answer and its repetition: names of this one exchange, and when it was.
const FLEETING = new Set([
  "id", "_request_id", "request_id", "created", "created_at", "completed_at", "item_id", "call_id",
]);

const scenarios = [];

/**
 * Registers a scenario: asked once for each source it names, in this order. `calls` lists how often the upstream may be
 * called for each time of asking; without it once for what it answers, else never.
 */
export function scenario(name, ask, { sources = CACHED, calls } = {}) {
  scenarios.push({ name, ask, sources, calls });
}

/** Returns what was said, from the headers of its response and what the SDK made of it. */
export function said(headers, body) {
  return { source: headers?.get("x-cache-source") ?? null, body: lasting(body) };
}

/** Returns plain data without what is fleeting. */
export function lasting(body) {
  if (Array.isArray(body)) return body.map(lasting);
  if (body === null || typeof body !== "object") return body;
  const kept = Object.entries(body).filter(([name, value]) => !FLEETING.has(name) && value !== undefined);
  return Object.fromEntries(kept.map(([name, value]) => [name, lasting(value)]));
}

/** Returns the types of events in their order, a run of one type as one; pings may come anywhere. */
export function outline(types) {
  return types.filter((type) => type !== "ping").filter((type, at, all) => type !== all[at - 1]);
}

export function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

export function same(found, wanted, what) {
  check(isDeepStrictEqual(found, wanted), `${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

/** Plays every scenario that was registered and writes one line of JSON for each. */
export async function run() {
  check(scenarios.length > 0, "nothing to play");
  const wanted = new RegExp(`^${ONLY.split("*").map(escaped).join(".*")}$`);
  for (const it of scenarios.filter(({ name }) => wanted.test(name))) {
    let verdict = { name: it.name, ok: true };
    try {
      await play(it);
    } catch (error) {
      verdict = { name: it.name, ok: false, why: `${error.name}: ${error.message}` };
    }
    console.log(JSON.stringify(verdict));
  }
}

const escaped = (text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&");

async function play({ ask, sources, calls }) {
  let first;
  for (const [at, source] of sources.entries()) {
    const before = await upstreamCalls();
    const answer = await ask();
    const called = (await upstreamCalls()) - before;
    const wanted = calls ?? [source === "upstream" ? 1 : 0];
    same(answer.source, source, `x-cache-source of answer ${at + 1}`);
    check(wanted.includes(called), `the upstream was called ${called} times for answer ${at + 1}, not ${wanted}`);
    first ??= answer;
    check(isDeepStrictEqual(answer.body, first.body), `answer ${at + 1} differs: ${difference(first.body, answer.body)}`);
  }
}

/** Returns where two answers differ first, and how. */
function difference(first, second, path = "") {
  const isOpen = (value) => value !== null && typeof value === "object";
  if (isOpen(first) && isOpen(second)) {
    for (const name of new Set([...Object.keys(first), ...Object.keys(second)])) {
      if (!isDeepStrictEqual(first[name], second[name])) return difference(first[name], second[name], `${path}.${name}`);
    }
  }
  return `${path || "all"} was ${JSON.stringify(first)}, then ${JSON.stringify(second)}`;
}

/** Returns how many requests the upstream has had. */
async function upstreamCalls() {
  const response = await fetch(`${UPSTREAM}/__aimock/journal?limit=0`, {
    headers: { authorization: `Bearer ${UPSTREAM_KEY}` },
  });
  await response.text();
  return Number(response.headers.get("x-total-count"));
}
