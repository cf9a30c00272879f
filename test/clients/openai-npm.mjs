// openai from npm: chat, completions, responses, models, and an error, against the running server.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none' });
const model = 'SmolLM2-135M-Instruct';
const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const chat = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 24 });
assert.match(chat.choices[0].message.content, /Paris/);
const runner = client.chat.completions.stream({ model, messages, temperature: 0, max_tokens: 24 });
assert.equal(await runner.finalContent(), chat.choices[0].message.content);
const response = await client.responses.create({ model, input: messages, temperature: 0, max_output_tokens: 24 });
assert.match(response.output_text, /Paris/);
const scored = await client.completions.create({ model, prompt: 'The sea is', max_tokens: 1, echo: true, logprobs: 2 });
assert.equal(scored.choices[0].logprobs.token_logprobs[0], null);
const ids = (await client.models.list()).data.map(({ id }) => id);
assert.ok(ids.includes('pirate'));
await assert.rejects(client.responses.create({ model: 'none', input: 'a' }), { status: 404, code: 'model_not_found' });
