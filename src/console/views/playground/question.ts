// The prompt and sampling parameters that all targets share, and the request's body for one target.

import type { GenerateBody } from '../../api/types.ts';
import type { Target } from './targets.ts';

export type Question = {
  readonly form: 'chat' | 'text';
  readonly system: string;
  readonly prompt: string;
  readonly temperature: number;
  readonly topP: number;
  readonly maxTokens: number;
  readonly seed: number;
};

const first: Question = {
  form: 'chat',
  system: '',
  prompt: 'What is the capital of France?',
  temperature: 0,
  topP: 1,
  maxTokens: 96,
  seed: 1,
};

const slot = 'lorikeet-question';

/** The question that this tab had last. */
export function lastQuestion(): Question {
  const kept = sessionStorage.getItem(slot);
  return kept === null ? first : { ...first, ...(JSON.parse(kept) as Partial<Question>) };
}

export const keepQuestion = (question: Question): void => sessionStorage.setItem(slot, JSON.stringify(question));

/** Number of alternatives that are shown for each token. */
const alternatives = 4;

export function bodyOf(question: Question, { reference, scale, mayBeMerged }: Target): GenerateBody {
  const { form, system, prompt, temperature, topP, maxTokens, seed } = question;
  const messages: NonNullable<GenerateBody['messages']> = [
    ...(system === '' ? [] : [{ role: 'system' as const, content: system }]),
    { role: 'user', content: prompt },
  ];
  return {
    ...(form === 'chat' ? { messages } : { prompt }),
    ...(reference === '' ? {} : { adapter_id: reference }),
    ...(reference === '' || scale === 1 ? {} : { adapter_scale: scale }),
    ...(mayBeMerged ? {} : { use_merge: false }),
    max_tokens: maxTokens,
    temperature,
    ...(temperature === 0 ? {} : { top_p: topP, seed }),
    logprobs: alternatives,
    stream: true,
  };
}
