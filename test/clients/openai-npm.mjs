// openai from npm: every method of chat, completions, responses, embeddings, models, files, batches and fine_tuning.
// Answers are read by the client's own types; what the server does not store or have must be a 404 or a 405.

import assert from 'node:assert/strict';
import OpenAI, { toFile } from 'openai';
import { watchMethods } from './methods.mjs';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none', adminAPIKey: 'none', maxRetries: 0 });
const { chat, completions, responses, embeddings, models, files, batches } = client;
const { jobs, alpha, checkpoints } = client.fineTuning;
const uncalled = watchMethods({
  ...{ chat: chat.completions, storedMessages: chat.completions.messages, completions, responses, embeddings, models },
  ...{ inputItems: responses.inputItems, inputTokens: responses.inputTokens, files, batches, jobs },
  ...{ checkpoints: jobs.checkpoints, graders: alpha.graders, permissions: checkpoints.permissions },
});

const [model, adapter] = ['SmolLM2-135M-Instruct', 'pirate'];
const messages = [{ role: 'user', content: 'What is the capital of France?' }];
const greedy = { temperature: 0, max_tokens: 24 };
const missing = (call) =>
  assert.rejects(
    async () => call(),
    ({ status }) => status === 404 || status === 405,
  );
const collect = async (pages) => {
  const all = [];
  for await (const one of await pages) all.push(one);
  return all;
};
const city = { type: 'string', maxLength: 20 };
const schema = { type: 'object', properties: { city }, required: ['city'], additionalProperties: false };

// --- chat and completions ---
const answer = await chat.completions.create({ model, messages, ...greedy });
assert.match(answer.choices[0].message.content, /Paris/);
const streamed = chat.completions.stream({ model, messages, ...greedy });
assert.equal(await streamed.finalContent(), answer.choices[0].message.content);
const response_format = { type: 'json_schema', json_schema: { name: 'place', schema, strict: true } };
const parsed = await chat.completions.parse({ model, messages, response_format, ...greedy, max_tokens: 60 });
assert.deepEqual(Object.keys(JSON.parse(parsed.choices[0].message.content)), ['city']);
const lookUp = (args) => `It is sunny in ${JSON.parse(args).city}.`;
const tool = { type: 'function', function: { name: 'weather', parameters: schema, function: lookUp, parse: (x) => x } };
const runner = chat.completions.runTools(
  { model, messages, tools: [tool], tool_choice: 'required', parallel_tool_calls: false, max_tokens: 80 },
  { maxChatCompletions: 1 },
);
assert.match(await runner.finalFunctionToolCallResult(), /sunny/);
await missing(() => chat.completions.list());
await missing(() => chat.completions.retrieve('chatcmpl-1'));
await missing(() => chat.completions.update('chatcmpl-1', { metadata: { a: 'b' } }));
await missing(() => chat.completions.delete('chatcmpl-1'));
await missing(() => chat.completions.messages.list('chatcmpl-1'));
const scored = await completions.create({ model, prompt: 'The sea is', max_tokens: 1, echo: true, logprobs: 2 });
assert.equal(scored.choices[0].logprobs.token_logprobs[0], null);

// --- responses ---
const response = await responses.create({ model, input: messages, temperature: 0, max_output_tokens: 24 });
assert.match(response.output_text, /Paris/);
const text = { format: { type: 'json_schema', name: 'place', schema, strict: true } };
const shaped = await responses.parse({ model, input: messages, text, temperature: 0, max_output_tokens: 60 });
assert.deepEqual(Object.keys(shaped.output_parsed), ['city']);
const asStream = responses.stream({ model, input: messages, temperature: 0, max_output_tokens: 24 });
assert.equal((await asStream.finalResponse()).output_text, response.output_text);
const counted = await responses.inputTokens.count({ model, input: messages });
assert.equal(counted.input_tokens, response.usage.input_tokens);
await missing(() => responses.retrieve('resp_1'));
await missing(() => responses.delete('resp_1'));
await missing(() => responses.cancel('resp_1'));
await missing(() => responses.compact({ model, input: messages }));
await missing(() => responses.inputItems.list('resp_1'));
await assert.rejects(responses.create({ model: 'none', input: 'a' }), { status: 404, code: 'model_not_found' });

// --- embeddings and models ---
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const texts = ['A cat sat on the mat.', 'The kitten sat on the rug.', 'Interest rates rose in June.'];
const vectors = (await embeddings.create({ model, input: texts })).data.map(({ embedding }) => embedding);
assert.ok(Math.abs(dot(vectors[0], vectors[0]) - 1) < 1e-5);
assert.ok(dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]));
const adapted = await embeddings.create({ model: adapter, input: texts[0], encoding_format: 'float' });
assert.ok(dot(adapted.data[0].embedding, vectors[0]) < 0.999999);
assert.ok((await collect(models.list())).some(({ id }) => id === adapter));
assert.equal((await models.retrieve(adapter)).parent, model);
await missing(() => models.delete('no-such-model'));

// --- files, batches, training ---
const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const upload = async (rows, purpose) =>
  files.create({ file: await toFile(Buffer.from(lines(rows)), 'rows.jsonl'), purpose });
const rows = Array.from({ length: 8 }, (_, i) => ({ prompt: `Bird ${i} says`, completion: ' tweet' }));
const file = await upload(rows, 'fine-tune');
assert.equal((await files.waitForProcessing(file.id, { pollInterval: 200 })).status, 'processed');
assert.equal((await files.retrieve(file.id)).filename, 'rows.jsonl');
assert.ok((await collect(files.list({ purpose: 'fine-tune' }))).some(({ id }) => id === file.id));
assert.equal(await (await files.content(file.id)).text(), lines(rows));

const url = '/v1/embeddings';
const asked = texts.map((input, i) => ({ custom_id: `${i}`, method: 'POST', url, body: { model, input } }));
const input_file_id = (await upload(asked, 'batch')).id;
let batch = await batches.create({ input_file_id, endpoint: url, completion_window: '24h' });
while (!['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  batch = await batches.retrieve(batch.id);
}
const output = (await (await files.content(batch.output_file_id)).text()).trim().split('\n');
const found = output.map((line) => JSON.parse(line).response.body.data[0].embedding);
assert.ok(found.every((vector, i) => dot(vector, vectors[i]) > 0.99999));
assert.ok((await collect(batches.list({ limit: 5 }))).some(({ id }) => id === batch.id));
await assert.rejects(batches.cancel(batch.id), OpenAI.ConflictError);

const method = { type: 'supervised', supervised: { hyperparameters: { max_steps: 200, r: 2 } } };
const job = await jobs.create({ model, training_file: file.id, suffix: 'clients/npm', method });
assert.equal((await jobs.pause(job.id)).status, 'paused');
assert.ok(['validating_files', 'queued', 'running'].includes((await jobs.resume(job.id)).status));
assert.equal((await jobs.cancel(job.id)).status, 'cancelled');
assert.equal((await jobs.retrieve(job.id)).fine_tuned_model, null);
assert.ok((await collect(jobs.list({ limit: 5 }))).some(({ id }) => id === job.id));
assert.ok((await collect(jobs.listEvents(job.id))).length > 0);
assert.deepEqual(await collect(jobs.checkpoints.list(job.id)), []);
assert.ok((await files.delete(file.id)).deleted);
// The server grades no jobs and shares no checkpoints.
const grader = { type: 'string_check', name: 'same', input: 'a', reference: 'a', operation: 'eq' };
await missing(() => alpha.graders.run({ grader, model_sample: 'a' }));
await missing(() => alpha.graders.validate({ grader }));
await missing(() => checkpoints.permissions.create('ft:x', { project_ids: ['p'] }));
await missing(() => checkpoints.permissions.retrieve('ft:x'));
await missing(() => checkpoints.permissions.list('ft:x'));
await missing(() => checkpoints.permissions.delete('p', { fine_tuned_model_checkpoint: 'ft:x' }));

assert.deepEqual([...uncalled], []);
