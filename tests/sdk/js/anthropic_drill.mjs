// Plays the scenarios of the `@anthropic-ai/sdk` package.

import "./anthropic_messages.mjs";
import "./anthropic_beta.mjs";
import "./anthropic_faults.mjs";
import { run } from "./twice.mjs";

await run();
