// Reads a stream of server-sent events, and has words for what goes wrong with one. Knows no route and no dialect.

/**
 * What went wrong: in the server's words (`message`, `hint`), in words for a visitor (`say`), and who failed (`source`): relight,
 * engine, provider or network. `wait` is in seconds: before that, asking again is no use.
 */
export class Failure extends Error {
  constructor({ message, hint = "", source = "relight", code = "", say = "", wait = 0 }) {
    super(message);
    Object.assign(this, { hint, source, code, say, wait });
  }
}

/** The server was not reached at all. */
export function unreachable() {
  return new Failure({ message: "The server does not answer.", hint: "check that it is running, then try again", source: "network" });
}

/** What a body tells, as `{comment}` or `{name, data}`, in the order in which it comes. */
export async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let event = { name: "", data: [] };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + decoder.decode(value, { stream: !done })).split(/\r?\n/);
      rest = done ? "" : lines.pop();
      for (const line of lines) {
        if (line.startsWith(":")) yield { comment: line.slice(1).trim() };
        else if (line.startsWith("event:")) event.name = line.slice(6).trim();
        else if (line.startsWith("data:")) event.data.push(line.slice(5).replace(/^ /, ""));
        else if (!line && event.data.length) {
          yield { name: event.name, data: event.data.join("\n") };
          event = { name: "", data: [] };
        }
      }
      if (done) return;
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new Failure({ message: "The connection broke while the answer came.", source: "network" });
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The JSON in `text`, or `null`. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The number at the beginning of `text`, or `null`. */
export function number(text) {
  const value = Number.parseFloat(text ?? "");
  return Number.isFinite(value) ? value : null;
}
