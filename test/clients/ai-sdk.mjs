// Vercel's AI SDK: its OpenAI provider, which calls /v1/responses, and its chat model.

import assert from 'node:assert/strict';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';

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
