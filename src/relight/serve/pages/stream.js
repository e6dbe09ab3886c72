// Asks for an answer and reads it as it comes. Knows the wire (HTTP, server-sent events, error envelopes), not the page.

import { events, Failure, number, parsed, unreachable } from "./events.js";
import { key } from "./key.js";

/**
 * Stream one answer. Yields `{open}`, `{note}`, `{thinking}`, `{text}`, `{finish}` and `{usage, timings}` as they come;
 * throws `Failure`, or `AbortError` when `signal` says stop.
 */
export async function* ask(request, signal) {
  const response = await post("v1/chat/completions", { ...request, stream: true, stream_options: { include_usage: true } }, signal);
  if (!response.ok) throw await refusal(response);
  yield { open: { wakeMs: number(response.headers.get("x-relight-wake-ms")), model: response.headers.get("x-relight-model") } };
  let complete = false;
  for await (const { comment, data } of events(response.body)) {
    if (comment) yield { note: comment };
    else if (data === "[DONE]") complete = true;
    else if (data) for (const piece of read(data)) {
      complete ||= "finish" in piece;
      yield piece;
    }
  }
  if (!complete) throw new Failure({ message: "The connection ended before the answer was complete.", source: "network" });
}

/** POST JSON; a server that cannot be reached becomes a `Failure` in words. */
export async function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  try {
    return await call(path, { method: "POST", headers, body: JSON.stringify(body), signal });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
}

/** GET JSON, or `null` when there is no usable answer. */
export async function get(path) {
  try {
    const response = await call(path, { headers: { accept: "application/json" }, cache: "no-store" });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function call(path, init) {
  const sent = key.text;
  const response = await fetch(path, { ...init, headers: { ...init.headers, ...key.headers } });
  if (response.status === 401) key.refuse(sent);
  else key.accept(sent);
  return response;
}

function read(data) {
  const chunk = parsed(data);
  if (chunk === null) throw new Failure({ message: "The answer contained something that is not JSON.", source: "engine" });
  if (chunk.error) throw new Failure(envelope(chunk.error));
  const pieces = [];
  const choice = chunk.choices?.[0];
  if (choice?.delta?.reasoning_content) pieces.push({ thinking: choice.delta.reasoning_content });
  if (choice?.delta?.content) pieces.push({ text: choice.delta.content });
  if (choice?.finish_reason) pieces.push({ finish: choice.finish_reason });
  if (chunk.usage || chunk.timings) pieces.push({ usage: chunk.usage ?? null, timings: chunk.timings ?? null });
  return pieces;
}

async function refusal(response) {
  if (response.status === 401) return new Failure({ message: "The service wants another key.", hint: "enter it below, then retry", code: "unauthorized" });
  const error = parsed(await response.text().catch(() => ""))?.error;
  const wait = number(response.headers.get("retry-after"));
  const failure = new Failure(envelope(error ?? { message: `The server answered ${response.status} ${response.statusText}`.trim() + "." }));
  if (wait > 0) failure.hint ||= `try again in ${Math.ceil(wait)} s`;
  return failure;
}

function envelope(error) {
  if (typeof error === "string") return { message: error };
  const { message, hint, source, code } = error;
  return { message: String(message || "No reason was given."), hint: hint || "", source: source || "relight", code: String(code ?? "") };
}
