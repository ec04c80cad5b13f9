// Plays what goes through unread.

import "./passthrough.mjs";
import { run } from "./twice.mjs";

await run();
