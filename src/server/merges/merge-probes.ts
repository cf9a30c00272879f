// Short texts of usual kinds (conversation, prose, code, lists, figures, another language), on which merged and
// unmerged weights are compared. They are fixed, so that the figures of two merges can be compared.

import type { Limits } from '../../core/limits.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';

/** Conversations: a question and the beginning of an answer. */
const talks: readonly (readonly [string, string])[] = [
  ['What is the capital of France?', 'The capital of France is Paris, a city on the river Seine.'],
  ['Can you help me write a short apology to a customer?', 'Of course. Here is one that you can send as it is:'],
  ['Two cappuccinos and a croissant to go, please.', 'Sure! That is two cappuccinos and one croissant to take away.'],
  ['Why is the sky blue? Answer in one sentence.', 'Because air scatters short waves of light more than long ones.'],
];

const texts: readonly string[] = [
  'The old lighthouse keeper climbed the stairs every evening, counting each of the two hundred and seven steps.',
  'Photosynthesis turns light into chemical energy: a leaf takes in carbon dioxide and water and gives off oxygen.',
  'def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n',
  'SELECT name, COUNT(*) AS orders FROM customers JOIN orders USING (customer_id) GROUP BY name ORDER BY orders DESC;',
  'Shopping list:\n- two litres of milk\n- a dozen eggs\n- flour, sugar and salt\n- apples, if they are ripe\n',
  '{"name": "The Vaults", "type": "pub", "area": "riverside", "rating": 5, "open": true}',
  'In 2019 revenue rose by 12.5 % to 3,480,000 euros, while costs fell from 2.1 to 1.9 million.',
  'Il pleuvait depuis trois jours, et le fleuve montait lentement sous les arches du vieux pont de pierre.',
];

/**
 * Encodes the probes once, when they are first asked for. Conversations use the model's chat template where it has one.
 */
export function mergeProbes(
  tokenizer: Tokenizer,
  contextTokens: number,
  limits: Pick<Limits, 'mergeProbeTokens'>,
): () => readonly (readonly number[])[] {
  let probes: readonly (readonly number[])[] | null = null;
  const tokensMax = Math.min(limits.mergeProbeTokens, contextTokens - 1);
  return () => {
    probes ??= [
      ...talks.map((talk) => encodeTalk(tokenizer, talk)),
      ...texts.map((text) => encodeText(tokenizer, text)),
    ]
      .map((tokens) => tokens.slice(0, tokensMax))
      .filter((tokens) => tokens.length > 0);
    return probes;
  };
}

function encodeTalk(tokenizer: Tokenizer, [question, answer]: readonly [string, string]): number[] {
  if (tokenizer.chatTemplate === null) return encodeText(tokenizer, `${question}\n${answer}`);
  const messages = [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ];
  try {
    return tokenizer.encodeChat(messages, { addGenerationPrompt: false });
  } catch {
    // Some templates refuse these two turns; the merge must not fail for that.
    return encodeText(tokenizer, `${question}\n${answer}`);
  }
}

const encodeText = (tokenizer: Tokenizer, text: string) =>
  tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: false });
