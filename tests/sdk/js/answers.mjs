// What the upstream is going to answer (see ../fixtures.mjs), and what it is asked with.

import { z } from "zod";

export const RIVERS = "Rivers carry water from the hills to the sea.";
/** A piece of the odd text. */
export const ODD = '世界! 🌊\n\n"quoted" \\ and a tab\t';
export const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/** What every answer costs: tokens of the prompt, and of the answer. */
export const [PROMPT_TOKENS, ANSWER_TOKENS] = [11, 7];

/** The description and the schema of the tool `get_weather`. */
export const LOOKS_UP = "Looks up the weather of a city.";
export const CITY = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

export const Person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
export const ADA = { name: "Ada", age: 36, tags: ["mathematics"] };
