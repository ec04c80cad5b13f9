// What the upstream answers, by what it is asked.
//
// A prompt names its fixture by a phrase; whatever else a fixture demands (a system text, a tool, a schema) is there so
// that a request which lost it on its way through Refrain finds no fixture, and the scenario fails.

const USAGE = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

/** Gemini says STOP when it calls a function; aimock says FUNCTION_CALL, a reason that Gemini does not have. */
const finishOfCall = (model) => (model.startsWith("gemini") ? "stop" : "tool_calls");

/** What each vendor says when a filter stopped the answer. aimock passes on a reason that it does not know. */
const finishOfFilter = (model) => (model.startsWith("claude") ? "refusal" : "content_filter");

const calls = (...toolCalls) => (request) => ({
  toolCalls,
  finishReason: finishOfCall(request.model),
  usage: USAGE,
});

const weatherIn = (city, id) => ({ id, name: "get_weather", arguments: JSON.stringify({ city }) });

/** A phrase of the last user message, and the tool with its schema. */
const withTool = (phrase) => ({
  userMessage: phrase,
  hasToolResult: false,
  predicate: (request) =>
    request.tools?.some((tool) => tool.function.name === "get_weather" && tool.function.description),
});

const limitOf = (request) => request.max_tokens ?? request.max_completion_tokens;

export function addFixtures(mock) {
  mock.on({ userMessage: "plain words" }, { content: "Rivers carry water from the hills to the sea.", usage: USAGE });
  // In one piece: aimock cuts texts by UTF-16 unit, and half an emoji is no valid JSON.
  const world = 'Grüße, 世界! 🌊\n\n"quoted" \\ and a tab\t, then </script> and a nul-free end. ';
  mock.on({ userMessage: "odd characters" }, { content: world, usage: USAGE }, { chunkSize: 1000 });
  mock.on({ userMessage: "many pieces" }, { content: "word ".repeat(400).trim(), usage: USAGE }, { chunkSize: 5 });
  mock.on(
    { userMessage: "take your time" },
    { content: "Slow and steady.", usage: USAGE },
    { streamingProfile: { ttft: 300, tps: 20 } },
  );
  mock.on(
    { userMessage: "who are you", predicate: (request) => systemText(request) === "You are a pirate. Answer briefly." },
    { content: "Arr.", usage: USAGE },
  );
  mock.on(
    { userMessage: "and what was my name", turnIndex: 1, predicate: (request) => roles(request) === "user assistant user" },
    { content: "Your name is Ada.", usage: USAGE },
  );
  mock.on(
    { userMessage: "settings arrive", predicate: (request) => request.temperature === 0.3 && limitOf(request) === 77 },
    { content: "They did.", usage: USAGE },
  );
  mock.on(
    { userMessage: "describe this picture" },
    { content: "A single red pixel.", usage: USAGE },
  );
  mock.on({ userMessage: "a person as JSON" }, { content: { name: "Ada", age: 36, tags: ["mathematics"] }, usage: USAGE });

  // Of two fixtures that fit the first wins: the one with a result stands before the one without.
  mock.on(
    { userMessage: "the weather", hasToolResult: true, toolResultContains: "21 degrees" },
    { content: "It is 21 degrees in Paris.", usage: USAGE },
  );
  mock.on(withTool("the weather"), calls(weatherIn("Paris", "call_paris")));
  mock.on(withTool("weather in two cities"), calls(weatherIn("Paris", "call_paris"), weatherIn("Rome", "call_rome")));
  mock.on(withTool("say first, then look up"), (request) => ({
    content: "Let me look that up.",
    ...calls(weatherIn("Paris", "call_paris"))(request),
  }));

  mock.on(
    { userMessage: "think about it" },
    { content: "It is 42.", reasoning: "Six times seven.", reasoningSignature: "c2lnbmVk", usage: USAGE },
  );
  mock.on(
    { userMessage: "think in secret" },
    { content: "It is 42.", redactedThinking: ["b3BhcXVl"], usage: USAGE },
  );
  mock.on({ userMessage: "run out of room" }, { content: "This ends in the", finishReason: "length", usage: USAGE });
  mock.on({ userMessage: "be filtered" }, (request) => ({
    content: "Some of it",
    finishReason: finishOfFilter(request.model),
    usage: USAGE,
  }));
  addFaults(mock);
  addPassedThrough(mock);
}

const isSystem = (message) => message.role === "system" || message.role === "developer";

const roles = (request) =>
  request.messages.filter((message) => !isSystem(message)).map((message) => message.role).join(" ");

/** The system texts as one, however many messages, parts or lines they came in. */
const systemText = (request) =>
  request.messages.filter(isSystem).map(textOf).join(" ").replace(/\s+/g, " ").trim();

const textOf = ({ content }) =>
  typeof content === "string" ? content : content.map((part) => part.text).join(" ");

function addFaults(mock) {
  const fail = (phrase, status, message, type, more = {}) =>
    mock.on({ userMessage: phrase }, { error: { message, type, ...more.error }, status, ...more.response });
  fail("be refused as wrong", 400, "that prompt is not to our taste", "invalid_request_error");
  fail("be too long", 400, "prompt is too long: 300000 tokens > 200000 maximum", "invalid_request_error", {
    error: { code: "context_length_exceeded" },
  });
  fail("meet a limit", 429, "slow down", "rate_limit_error", { response: { retryAfter: 60 } });
  fail("meet overload", 529, "Overloaded", "overloaded_error");
  fail("meet a bad key", 401, "Incorrect API key provided", "authentication_error");
  fail("meet no model", 404, "model: not found", "not_found_error", { error: { code: "model_not_found" } });

  const words = { content: "This will not come whole. ".repeat(4), usage: USAGE };
  mock.on({ userMessage: "meet a crash" }, words, { chaos: { dropRate: 1 } });
  mock.on({ userMessage: "meet nonsense" }, words, { chaos: { malformedRate: 1 } });
  mock.on({ userMessage: "meet a hang-up" }, words, { chaos: { disconnectRate: 1 } });
  mock.on({ userMessage: "be cut midway" }, words, { truncateAfterChunks: 3, latency: 100 });
}

function addPassedThrough(mock) {
  mock.onEmbedding("embed this", { embedding: [0.25, -0.5, 0.125, 1] });
  mock.onImage("a red pixel", { image: { b64Json: "iVBORw0KGgo=" } });
  mock.onSpeech("read this aloud", { audio: "SUQzAAAA", format: "mp3" });
  mock.onTranscription({ transcription: { text: "What was said." } });
  mock.onModerate("harmless", { flagged: false, categories: { violence: false } });
}
