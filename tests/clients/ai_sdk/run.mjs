// Asks a service, through Vercel's AI SDK, for one thing of each kind, and prints what came of it as one JSON object.
// node run.mjs BASE_URL chat|messages MODEL; the model is the scripted engine, whose prompts say what it answers.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateObject, generateText, isStepCount, jsonSchema, Output, streamText, tool } from 'ai';

globalThis.AI_SDK_LOG_WARNINGS = false;
const [base, dialect, name] = process.argv.slice(2);
const chat = createOpenAICompatible({
  name: 'relight', baseURL: `${base}/v1`, apiKey: 'none', includeUsage: true, supportsStructuredOutputs: true,
});
const messages = createAnthropic({ baseURL: `${base}/v1`, apiKey: 'none' });
const model = (id = name) => (dialect === 'messages' ? messages(id) : chat(id));

const script = (text) => `#script ${text}`;
const says = (text) => script(`text=${JSON.stringify(text)}`);
const call = 'tool=weather args={"city": "Oslo"}';
const person = '{"name": "Ada", "age": 36}';

const weather = tool({
  description: 'Tells the weather of a city.',
  inputSchema: jsonSchema({
    type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false,
  }),
  execute: async ({ city }) => `rain in ${city}`,
});
const form = jsonSchema({
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'age'],
  additionalProperties: false,
});

const ask = (prompt, more = {}) => ({ model: model(), prompt, maxRetries: 0, maxOutputTokens: 500, ...more });
const calls = (step) => step.toolCalls.map(({ toolName, input }) => [toolName, input]);

async function streamed(options) {
  const errors = [];
  const result = streamText({ ...options, onError: ({ error }) => errors.push(error) });
  const parts = [];
  for await (const part of result.textStream) parts.push(part);
  if (errors.length) throw errors[0];
  return { parts, result };
}

const cases = {
  async text() {
    const { text, finishReason, usage } = await generateText(ask(says('Grüße aus 世界')));
    return { text, finishReason, outputTokens: usage.outputTokens };
  },
  async stream() {
    const { parts, result } = await streamed(ask(says('one two three four')));
    return { parts, finishReason: await result.finishReason, outputTokens: (await result.usage).outputTokens };
  },
  async reasoning() {
    const { text, reasoningText } = await generateText(ask(script('reasoning="let me see" text="forty two"')));
    return { text, reasoningText };
  },
  async parallel() {
    const both = script(`${call} tool=weather args={"city": "Rome"}`);
    const { result } = await streamed(ask(both, { tools: { weather } }));
    return { calls: calls({ toolCalls: await result.toolCalls }), finishReason: await result.finishReason };
  },
  async forced() {
    const step = await generateText(
      ask(says('{"city": "Oslo"}'), { tools: { weather }, toolChoice: { type: 'tool', toolName: 'weather' } }),
    );
    return { calls: calls(step) };
  },
  async required() {
    const { result } = await streamed(ask(says('{"city": "Oslo"}'), { tools: { weather }, toolChoice: 'required' }));
    return { calls: calls({ toolCalls: await result.toolCalls }) };
  },
  async roundTrip() {
    const { text, steps } = await generateText(ask(script(call), { tools: { weather }, stopWhen: isStepCount(3) }));
    return { text, steps: steps.length };
  },
  async streamedRoundTrip() {
    const { parts } = await streamed(ask(script(call), { tools: { weather }, stopWhen: isStepCount(3) }));
    return { text: parts.join('') };
  },
  async object() {
    return { object: (await generateObject(ask(says(person), { schema: form }))).object };
  },
  async output() {
    return { object: (await generateText(ask(says(person), { output: Output.object({ schema: form }) }))).output };
  },
  async streamedOutput() {
    const { result } = await streamed(ask(says(person), { output: Output.object({ schema: form }) }));
    return { object: await result.output };
  },
  async vectors() {
    const { embeddings } = await embedMany({ model: chat.embeddingModel('vectors'), values: ['lamp light', 'night'] });
    return { lengths: embeddings.map((vector) => vector.length), differ: `${embeddings[0]}` !== `${embeddings[1]}` };
  },
  async asleep() {
    const { parts } = await streamed(ask(says('awake now'), { model: model('dozer') }));
    return { text: parts.join('') };
  },
  async notFound() {
    return refusal(ask('hello', { model: model('nonesuch') }));
  },
  async overflow() {
    return refusal(ask('word '.repeat(300), { model: model('tiny') }));
  },
  async unavailable() {
    return refusal(ask('hello', { model: model('never') }));
  },
};

async function refusal(options) {
  try {
    await generateText(options);
  } catch (error) {
    const { name, statusCode, isRetryable, message, responseHeaders = {} } = error;
    return { name, statusCode, isRetryable, message, retryAfter: responseHeaders['retry-after'] ?? null };
  }
  throw new Error('was not refused');
}

const told = {};
for (const [title, run] of Object.entries(cases)) {
  try {
    told[title] = await run();
  } catch (error) {
    told[title] = { threw: `${error.name}: ${error.message}` };
  }
}
console.log(JSON.stringify(told));
