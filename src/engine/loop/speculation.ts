// Tokens that are computed ahead: where few sequences run, a step takes along what a sequence's own tokens let expect
// (prompt-lookup.ts). Each position's token is chosen as ever, with the sequence's own dice, and a guess counts only
// where it is that very token: so the text is the same with and without, whatever is guessed.

import type { SpeculationStats } from '../../protocol/messages.ts';
import { draftLength } from '../policies/draft-length.ts';
import type { StepKind } from '../policies/merged-or-mixed.ts';
import type { SampledLogits } from '../runner/compute.ts';
import { type Choice, choose } from './choose.ts';
import { PromptLookup } from './prompt-lookup.ts';
import { prefillLeft, type Sequence, tokensLeft } from './sequence.ts';
import { StepCosts } from './step-costs.ts';

/** `always` guesses wherever anything is expected, for measurements. */
export type SpeculationMode = 'auto' | 'always' | 'never';

/** Sequences beside which nothing is guessed any more: a step of more takes as long as what it computes. */
const rowsMax = 2;
const tokensMax = 15;

export class Speculation {
  readonly #mode: SpeculationMode;
  /** Of steps with guesses and without, by all their tokens. */
  readonly #costs = new StepCosts();
  readonly #lookups = new WeakMap<Sequence, PromptLookup>();
  #drafts = 0;
  #drafted = 0;
  #accepted = 0;

  constructor(mode: SpeculationMode) {
    this.#mode = mode;
  }

  get stats(): SpeculationStats | null {
    if (this.#mode === 'never') return null;
    return { drafts: this.#drafts, drafted: this.#drafted, accepted: this.#accepted };
  }

  /**
   * What to compute behind a sequence's last token; mostly nothing.
   * @param rows sequences that run
   * @param positions tokens that it may hold
   */
  draft(sequence: Sequence, kind: StepKind, rows: number, positions: number): readonly number[] {
    const { request, tokens, constraint } = sequence;
    if (this.#mode === 'never' || rows > rowsMax || constraint !== null) return [];
    if (prefillLeft(sequence) > 0 || tokensLeft(sequence) !== 1) return [];
    const lookup = this.#lookups.get(sequence) ?? new PromptLookup(tokens);
    this.#lookups.set(sequence, lookup);
    // No guess is the last token of the answer: what ends it is chosen after all of them.
    const left = request.params.maxTokens - (tokens.length - request.promptTokens.length) - 1;
    const expected = lookup.expected(Math.min(tokensMax, left, positions - tokens.length));
    const end = expected.findIndex((token) => request.params.stopTokens.includes(token));
    const most = end === -1 ? expected.length : end;
    if (this.#mode === 'always') return expected.slice(0, most);
    const stepMs = (tokens: number) => this.#costs.stepMs(kind, tokens);
    const { chance, matched } = lookup;
    return expected.slice(0, draftLength({ chance, matched, rows, stepMs, most }));
  }

  /** A step of answers alone took so long. */
  observe(kind: StepKind, rows: number, tokens: number, ms: number): void {
    if (this.#mode === 'auto' && rows <= rowsMax) this.#costs.observe(kind, tokens, ms);
  }

  /**
   * The choices after `first`, as long as each is what was guessed.
   * @param at the logits of the first guess
   */
  follow(first: Choice, draft: readonly number[], { rows }: SampledLogits, at: number): Choice[] {
    const choices = [first];
    for (const [i, guess] of draft.entries()) {
      if (choices.at(-1)!.token !== guess) break;
      choices.push(choose(first.sequence, rows[at + i] as Float32Array));
    }
    if (draft.length > 0) this.#drafts++;
    this.#drafted += draft.length;
    this.#accepted += choices.length - 1;
    return choices;
  }
}
