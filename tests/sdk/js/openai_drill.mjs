// Plays the scenarios of the `openai` package.

import "./openai_chat.mjs";
import "./openai_faults.mjs";
import "./openai_responses.mjs";
import { run } from "./twice.mjs";

await run();
