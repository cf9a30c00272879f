// Example bodies in the OpenAPI description; each works on a fresh server. Interfaces whose bodies must name a model
// have none, since each server has its own model.

const messages = [{ role: 'user', content: 'What is the capital of France?' }];

export const examples: Readonly<Record<string, object>> = {
  '/v1/generate': { prompt: 'The capital of France is', max_tokens: 8, temperature: 0 },
  '/v1/chat/completions': { messages, max_tokens: 40, temperature: 0 },
  '/v1/completions': { prompt: 'The capital of France is', max_tokens: 8, temperature: 0 },
  '/v1/responses': { input: 'What is the capital of France?', max_output_tokens: 40 },
  '/v1/responses/input_tokens': { input: 'What is the capital of France?' },
  '/v1/embeddings': { input: ['The capital of France is Paris.', 'Lorikeets eat nectar.'] },
  '/generate': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/generate_stream': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/tokenize': { prompt: 'The capital of France is' },
  '/detokenize': { tokens: [1, 2, 3] },
};
