// Bodies that the description of the interface shows: each works on a fresh server as it stands.

const messages = [{ role: 'user', content: 'What is the capital of France?' }];

export const examples: Readonly<Record<string, object>> = {
  '/v1/generate': { prompt: 'The capital of France is', max_tokens: 8, temperature: 0 },
  '/v1/chat/completions': { messages, max_tokens: 40, temperature: 0 },
  '/v1/completions': { prompt: 'The capital of France is', max_tokens: 8, temperature: 0 },
  '/v1/responses': { input: 'What is the capital of France?', max_output_tokens: 40 },
  '/v1/responses/input_tokens': { input: 'What is the capital of France?' },
  '/v1/embeddings': { input: ['The capital of France is Paris.', 'Lorikeets eat nectar.'] },
  '/v1/messages': { max_tokens: 40, messages },
  '/v1/messages/count_tokens': { messages },
  '/generate': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/generate_stream': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/': { inputs: 'The capital of France is', parameters: { max_new_tokens: 8 } },
  '/api/chat': { messages, stream: false },
  '/api/generate': { prompt: 'The capital of France is', stream: false },
  '/tokenize': { prompt: 'The capital of France is' },
  '/detokenize': { tokens: [1, 2, 3] },
};
