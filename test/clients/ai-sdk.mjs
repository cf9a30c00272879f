// Vercel's AI SDK: its OpenAI provider, which calls /v1/responses, its chat model, objects, tools and vectors.

import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { embedMany, generateText, jsonSchema, Output, streamText, tool } from 'ai';

const openai = createOpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none' });
const prompt = 'What is the capital of France?';
for (const model of [openai('SmolLM2-135M-Instruct'), openai.chat('SmolLM2-135M-Instruct')]) {
  const ask = { model, prompt, temperature: 0, maxOutputTokens: 24 };
  const { text, usage } = await generateText(ask);
  assert.match(text, /Paris/);
  assert.ok(usage.outputTokens > 0);
  let streamed = '';
  for await (const part of streamText(ask).textStream) streamed += part;
  assert.equal(streamed, text);
}
const adapted = await generateText({ model: openai.chat('pirate'), prompt, temperature: 0, maxOutputTokens: 24 });
assert.notEqual(adapted.text, '');

// Objects, tool calls and embeddings.
const schema = { type: 'object', properties: { city: { type: 'string', maxLength: 20 } }, required: ['city'] };
const place = jsonSchema({ ...schema, additionalProperties: false });
const model = openai.chat('SmolLM2-135M-Instruct');
const { output } = await generateText({
  model,
  prompt,
  temperature: 0,
  maxOutputTokens: 60,
  output: Output.object({ schema: place }),
});
assert.deepEqual(Object.keys(output), ['city']);
const weather = tool({ inputSchema: place, execute: async ({ city }) => `It is sunny in ${city}.` });
const { toolResults } = await generateText({
  model,
  prompt,
  tools: { weather },
  toolChoice: 'required',
  // Greedy, since some sampled calls would be longer than the limit.
  temperature: 0,
  maxOutputTokens: 120,
});
assert.match(toolResults[0].output, /sunny/);
const { embeddings, usage } = await embedMany({ model: openai.embedding('pirate'), values: ['a', 'b'] });
assert.ok(embeddings.length === 2 && usage.tokens > 0);
