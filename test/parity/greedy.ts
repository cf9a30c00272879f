// Greedy tokens against the reference's. After the first difference two texts have nothing to do with each other, so
// what counts is where it falls and how sure the reference was there.

import type { ReferencePrompt } from './references.ts';

export type FirstDifference = {
  readonly step: number;
  /** The reference's top logit minus its second at that step. */
  readonly margin: number;
};

/** Null where all of the reference's tokens were generated. */
export function firstDifference(
  reference: Pick<ReferencePrompt, 'greedy' | 'margins'>,
  generated: readonly number[],
): FirstDifference | null {
  const step = reference.greedy.findIndex((token, i) => token !== generated[i]);
  return step < 0 ? null : { step, margin: reference.margins[step]! };
}

export type GreedyParity = {
  readonly prompts: number;
  readonly greedyEqual: number;
  /** The surest step at which a first difference fell; 0 if there is none. */
  readonly largestMargin: number;
};

/** `generate` gives `count` tokens after the prompt by argmax, end-of-sequence ignored. */
export async function measureGreedy(
  prompts: readonly ReferencePrompt[],
  generate: (tokens: readonly number[], count: number) => Promise<readonly number[]>,
): Promise<GreedyParity> {
  const differences: FirstDifference[] = [];
  for (const prompt of prompts) {
    const difference = firstDifference(prompt, await generate(prompt.tokens, prompt.greedy.length));
    if (difference) differences.push(difference);
  }
  return {
    prompts: prompts.length,
    greedyEqual: prompts.length - differences.length,
    largestMargin: Math.max(0, ...differences.map(({ margin }) => margin)),
  };
}

export function greedyLine(name: string, parity: Pick<GreedyParity, 'prompts' | 'greedyEqual'>): string {
  return `${name}: ${parity.greedyEqual} of ${parity.prompts} prompts give the reference's greedy tokens`;
}
