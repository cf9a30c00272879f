// Whether llama-server, on adapters that we converted, says what PEFT says: no peer is measured on a wrong conversion.

import { adapterFolder, readAdapterCases } from '../../test/parity/adapters.ts';
import { firstDifference } from '../../test/parity/greedy.ts';
import { llamaServerWithAdapters, writeGgufAdapters } from './adapter-works.ts';
import type { LlamaCpp } from './llama-cpp.ts';
import { startServer } from './running-server.ts';
import type { Setup } from './step-works.ts';

/** One for each thing that the conversion must get right: Q and K rows, every linear, half-width floats, rsLoRA. */
const checked = ['r16-all', 'rslora', 'r8-attention-bf16', 'r4-qv-f16', 'shell', 'order', 'pirate'];

/**
 * llama.cpp rounds activations to 8 bits, so tokens may change places where the reference's first two lay near each
 * other; a wrong conversion differs at once and everywhere.
 */
const marginMax = 1;

/** SmolLM2's `<|im_end|>`. */
const endOfTurn = 2;

/** Short prompts, and few: this comes before every measurement. */
const promptTokensMax = 64;

/** A line about it. Throws where the first difference falls at a step of which the reference was sure. */
export async function checkPeerAdapters(setup: Setup, llama: LlamaCpp, folder: string): Promise<string> {
  const files = writeGgufAdapters(checked.map(adapterFolder), folder);
  const server = await startServer(llamaServerWithAdapters(setup, llama, files));
  let [prompts, equal, largest] = [0, 0, 0];
  try {
    for (const { name, prompts: references } of readAdapterCases().filter((one) => checked.includes(one.name))) {
      for (const reference of references.filter(({ tokens }) => tokens.length <= promptTokensMax)) {
        const greedy = untilEnd(reference.greedy);
        const generated = await generate(server.url, reference.tokens, greedy.length, checked.indexOf(name));
        const { margin } = firstDifference({ ...reference, greedy }, generated) ?? { margin: null };
        prompts += 1;
        equal += margin === null ? 1 : 0;
        largest = Math.max(largest, margin ?? 0);
        if (largest > marginMax) throw new Error(`llama-server is not PEFT: ${name}, ${reference.kind}, ${largest}`);
      }
    }
  } finally {
    await server.stop();
  }
  const where = equal < prompts ? `, the others part at margins up to ${largest.toFixed(2)}` : '';
  return `llama-server on converted adapters: ${equal} of ${prompts} greedy texts are PEFT's${where}`;
}

/** What comes before the first end of a turn: llama-server stops there, and bans it where it is told to go on. */
function untilEnd(greedy: readonly number[]): readonly number[] {
  const end = greedy.indexOf(endOfTurn);
  return end < 0 ? greedy : greedy.slice(0, end);
}

async function generate(url: string, prompt: readonly number[], tokens: number, adapter: number): Promise<number[]> {
  const greedy = { temperature: 0, return_tokens: true, cache_prompt: false, lora: [{ id: adapter, scale: 1 }] };
  const response = await fetch(`${url}/completion`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt, n_predict: tokens, ...greedy }),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return ((await response.json()) as { tokens: number[] }).tokens;
}
