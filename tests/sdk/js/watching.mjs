// A `fetch` for a client whose helper keeps the headers of its response to itself.

/** Returns a `fetch` to give to a client, and a look at the headers of the last response that came through it. */
export function watching() {
  let last;
  return {
    fetch: async (...request) => {
      const response = await fetch(...request);
      last = response.headers;
      return response;
    },
    headers: () => last,
  };
}
