// Checks that llama-server on the converted adapters generates what PEFT does, so that no peer is measured on a wrong
// conversion.

import { adapterFolder, readAdapterCases } from '../../test/parity/adapters.ts';
import { firstDifference } from '../../test/parity/greedy.ts';
import { llamaServerWithAdapters, writeGgufAdapters } from './adapter-works.ts';
import type { LlamaCpp } from './llama-cpp.ts';
import { startServer } from './running-server.ts';
import type { Setup } from './step-works.ts';

/** Adapters for each thing that the conversion must get right: Q and K rows, every linear, 16-bit floats, rsLoRA. */
const checked = ['r16-all', 'rslora', 'r8-attention-bf16', 'r4-qv-f16', 'shell', 'order', 'pirate'];

/**
 * Largest margin at a first difference. llama.cpp rounds activations to 8 bits, so tokens may change places where the
 * reference's first two were close; a wrong conversion differs at once and everywhere.
 */
const marginMax = 1;

/** SmolLM2's `<|im_end|>`. */
const endOfTurn = 2;

/** Longest prompt, to keep the check short: it runs before every measurement. */
const promptTokensMax = 64;

/**
 * Runs the check and describes its result in a line. Throws where a first difference is at a step at which the
 * reference was sure.
 */
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

/**
 * Takes what comes before the first end of a turn: llama-server stops there, and where it must go on it bans that
 * token.
 */
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
