// The README's shell blocks: those that a first visitor types, what they show, and those that are tried elsewhere.

import { readFileSync } from 'node:fs';

export type Block = {
  readonly text: string;
  /** A part of what is typed, and what it says. */
  readonly shows: readonly (readonly [typed: string, answer: RegExp])[];
};

/** Each has its answer, so that a block which is new in the README does not go by unseen. */
const answers: readonly (readonly [typed: string, answer: RegExp])[] = [
  ['"prompt":"The capital of France is"', /"text":" Paris/],
  ['"adapter_id":"pirate"', /"name":"pirate","version":\d.*matey/],
  ['"adapter_id":"order"', /\\"quantity\\": 2/],
  ['--name my/pirate', /^my\/pirate@1 is ready/m],
  ['my/pirate prod 1', /^my\/pirate:prod is 1/m],
  ['--name mine --alias prod', /\bmine@1\b/],
  ['adapters merge pirate', /^ *state +merged$/m],
  ['/metrics', /^vllm:lora_requests_info/m],
  ['adapters push adapters/pirate --name my/adapter', /^my\/adapter@1 is ready/m],
  ['/v1/adapters -F', /"id":"my\/adapter@1"/],
  ['--format gguf', /merged in is \S*pirate\.gguf/],
  ['--format safetensors', /merged in is \S*pirate-hf/],
  ['adapters analyse pirate', /^q_proj/m],
  ['"response_format"', /\\"author\\": ?\\"/],
  ['$ANN npx lorikeet adapters push', /^pirate@1 is ready/m],
  // What Ann has is not there.
  ['$BOB npx lorikeet adapters list', /^pirate@1 is ready[^\n]*\nNo adapters/],
];

/** How blocks begin that no first visit types: the start itself, and what CI tries in steps of its own. */
const elsewhere = ['npm start', 'npm test'];

const readme = (): string => readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** Those of a first visit. */
export function blocksOf(): Block[] {
  const texts = [...readme().matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text]) => text!);
  return texts
    .filter((text) => !elsewhere.some((start) => text.startsWith(start)))
    .map((text) => ({ text, shows: answers.filter(([typed]) => text.includes(typed)) }));
}

/** Parts that no block has any more. */
export const unasked = (): string[] =>
  answers.map(([typed]) => typed).filter((typed) => !blocksOf().some(({ text }) => text.includes(typed)));

/** Commands of a first visit whose answers nobody looks at. */
export const unanswered = (): string[] =>
  blocksOf()
    .filter(({ shows }) => shows.length === 0)
    .map(({ text }) => text);
