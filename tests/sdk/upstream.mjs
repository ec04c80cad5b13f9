// Starts aimock as every vendor at once, and says on stdout where it listens and by which key it knows its client.

import { LLMock } from "@copilotkit/aimock";

import { addFixtures } from "./fixtures.mjs";

const KEY = "upstream-key";

// A request that no fixture fits is an error, and so is any other key than ours: a caller's key must not come here.
// Of its journal every entry is kept, since its length is how calls are counted.
const mock = new LLMock({ port: 0, strict: true, auth: { apiKeys: [KEY] }, journalMaxEntries: 0 });
addFixtures(mock);

// aimock does not count tokens.
mock.mount("/v1/messages/count_tokens", {
  async handleRequest(request, response) {
    for await (const _ of request);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ input_tokens: 17 }));
    return true;
  },
});

await mock.start();
console.log(JSON.stringify({ url: mock.url, key: KEY }));

// The drill holds the other end of stdin; when it goes, so does this.
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
