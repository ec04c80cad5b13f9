// What the upstream answers, by what it is asked.
//
// A prompt names its fixture by a phrase; whatever else a fixture demands (a system text, a tool, a schema) is there so
// that a request which lost it on its way through Refrain finds no fixture, and the scenario fails.

const USAGE = { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 };

/** Gemini says STOP when it calls a function; aimock says FUNCTION_CALL, a reason that Gemini does not have. */
const finishOfCall = (model) => (vendorOf(model) === "gemini" ? "stop" : "tool_calls");

/** What each vendor says when a filter stopped the answer. aimock passes on a reason that it does not know. */
const finishOfFilter = (model) => (vendorOf(model) === "anthropic" ? "refusal" : "content_filter");

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
  // Four hundred times the same word would be no answer, and not be stored.
  const pieces = Array.from({ length: 400 }, (_, at) => `word${at}`).join(" ");
  mock.on({ userMessage: "many pieces" }, { content: pieces, usage: USAGE }, { chunkSize: 5 });
  mock.on(
    { userMessage: "take your time" },
    { content: "Slow and steady.", usage: USAGE },
    { streamingProfile: { ttft: 300, tps: 20 } },
  );
  mock.on(
    { userMessage: "who are you", predicate: (request) => systemText(request) === "Youareapirate.Answerbriefly." },
    { content: "Arr.", usage: USAGE },
  );
  mock.on(
    { userMessage: "and what was my name", turnIndex: 1, predicate: (request) => roles(request) === "user assistant user" },
    { content: "Your name is Ada.", usage: USAGE },
  );
  // aimock loses what a message of Anthropic's says that is neither the user's nor the assistant's.
  mock.on(
    {
      userMessage: "and what did we agree",
      predicate: (request) =>
        vendorOf(request.model) === "anthropic" || systemText(request) === "Youareapirate.Speaklowly.",
    },
    { content: "To speak lowly, arr.", usage: USAGE },
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
  mock.on(withTool("look up first, then say"), (request) => ({
    blocks: [
      { type: "toolCall", ...weatherIn("Paris", "call_paris") },
      { type: "text", text: "I am looking it up." },
    ],
    finishReason: finishOfCall(request.model),
    usage: USAGE,
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

/** The system texts as one without any space, however many messages, parts or lines they came in. */
const systemText = (request) => request.messages.filter(isSystem).map(textOf).join("").replace(/\s/g, "");

const textOf = ({ content }) =>
  typeof content === "string" ? content : content.map((part) => part.text).join(" ");

/** What each vendor says of a fault: a status, Anthropic's and Google's word for it or OpenAI's code, and more. */
const FAULTS = {
  "be refused as wrong": {
    says: "that prompt is not to our taste",
    openai: [400, null],
    anthropic: [400, "invalid_request_error"],
    gemini: [400, "INVALID_ARGUMENT"],
  },
  "be too long": {
    says: {
      openai: "This model's maximum context length is 128000 tokens.",
      anthropic: "prompt is too long: 300000 tokens > 200000 maximum",
      gemini: "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    },
    openai: [400, "context_length_exceeded"],
    anthropic: [400, "invalid_request_error"],
    gemini: [400, "INVALID_ARGUMENT"],
  },
  "meet a limit": {
    says: "slow down",
    openai: [429, "rate_limit_exceeded"],
    anthropic: [429, "rate_limit_error"],
    gemini: [429, "RESOURCE_EXHAUSTED"],
    retryAfter: 60,
  },
  "meet overload": {
    says: "Overloaded",
    openai: [503, "server_is_overloaded"],
    anthropic: [529, "overloaded_error"],
    gemini: [503, "UNAVAILABLE"],
  },
  "meet a bad key": {
    says: "Incorrect API key provided",
    openai: [401, "invalid_api_key"],
    anthropic: [401, "authentication_error"],
    // A wrong key is a 400 with details at Google, and aimock has no details.
    gemini: [403, "PERMISSION_DENIED"],
  },
  "meet no model": {
    says: "model: not found",
    openai: [404, "model_not_found"],
    anthropic: [404, "not_found_error"],
    gemini: [404, "NOT_FOUND"],
  },
};

const vendorOf = (model) =>
  model.startsWith("claude") ? "anthropic" : model.startsWith("gemini") ? "gemini" : "openai";

function addFaults(mock) {
  for (const [phrase, { says, retryAfter, ...vendors }] of Object.entries(FAULTS)) {
    mock.on({ userMessage: phrase }, ({ model }) => {
      const vendor = vendorOf(model);
      const [status, word] = vendors[vendor];
      const kind = vendor === "openai" ? { type: "invalid_request_error", code: word } : { type: word };
      return { error: { message: says[vendor] ?? says, ...kind }, status, retryAfter };
    });
  }

  const words = { content: "This will not come whole. ".repeat(4), usage: USAGE };
  mock.on({ userMessage: "meet a crash" }, words, { chaos: { dropRate: 1 } });
  mock.on({ userMessage: "meet nonsense" }, words, { chaos: { malformedRate: 1 } });
  mock.on({ userMessage: "meet a hang-up" }, words, { chaos: { disconnectRate: 1 } });
  // The last chunk before the cut is lost with the connection, and the first ones of Anthropic's have no words.
  mock.on({ userMessage: "be cut midway" }, words, { truncateAfterChunks: 4, latency: 100 });
}

function addPassedThrough(mock) {
  mock.onEmbedding("embed this", { embedding: [0.25, -0.5, 0.125, 1] });
  mock.onImage("a red pixel", { image: { b64Json: "iVBORw0KGgo=" } });
  mock.onSpeech("read this aloud", { audio: "SUQzAAAA", format: "mp3" });
  mock.onTranscription({ transcription: { text: "What was said." } });
  mock.onTranslation({ transcription: { text: "What was meant." } });
  mock.onModerate("harmless", { flagged: false, categories: { violence: false } });
}
