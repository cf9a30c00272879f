// Speculative decoding: where few sequences run, a step also computes tokens that a sequence's own text, or earlier
// answers to the same tenant, let expect (speculation/text-guesser.ts). Every position's token is chosen as without
// guesses, with the sequence's own random numbers. A guess counts only if it is that token, so the text never depends
// on guesses.

import type { SpeculationStats } from '../../protocol/messages.ts';
import { draftLength } from '../policies/draft-length.ts';
import type { StepKind } from '../policies/merged-or-mixed.ts';
import type { SampledLogits } from '../runner/compute.ts';
import { PastTexts } from '../speculation/past-texts.ts';
import { type Guesses, TextGuesser } from '../speculation/text-guesser.ts';
import { type Choice, choose } from './choose.ts';
import { prefillLeft, type Sequence, tokensLeft } from './sequence.ts';
import { StepCosts } from './step-costs.ts';
import { weightsAndOwner } from './whose.ts';

/** `always` takes every guess, for measurements. */
export type SpeculationMode = 'auto' | 'always' | 'never';

/** Most running sequences beside which tokens are guessed: larger steps take as long as what they compute. */
const rowsMax = 2;
const tokensMax = 15;
/** Last tokens of a prompt that are kept with its answer, by which the answer's first tokens are found again. */
const promptTokensKept = 16;

export class Drafter {
  readonly #mode: SpeculationMode;
  /** Costs of steps with guesses and without, by their number of tokens. */
  readonly #costs = new StepCosts();
  readonly #guessers = new WeakMap<Sequence, TextGuesser>();
  readonly #past: PastTexts;
  #drafts = 0;
  #drafted = 0;
  #accepted = 0;

  /** @param pastTextBytes 0: guesses come from a sequence's own tokens alone */
  constructor(mode: SpeculationMode, pastTextBytes: number) {
    this.#mode = mode;
    this.#past = new PastTexts(mode === 'never' ? 0 : pastTextBytes);
  }

  get stats(): SpeculationStats | null {
    if (this.#mode === 'never') return null;
    const { bytes: pastTextBytes } = this.#past;
    return { drafts: this.#drafts, drafted: this.#drafted, accepted: this.#accepted, pastTextBytes };
  }

  /**
   * The tokens to compute behind a sequence's last one; mostly none.
   * @param rows sequences that run
   * @param positions most tokens that the sequence may hold
   */
  draft(sequence: Sequence, kind: StepKind, rows: number, positions: number): readonly number[] {
    const { request, tokens, constraint } = sequence;
    if (this.#mode === 'never' || rows > rowsMax || constraint !== null) return [];
    if (prefillLeft(sequence) > 0 || tokensLeft(sequence) !== 1) return [];
    // The answer's last token is never guessed: the token behind the last guess is always chosen from logits.
    const left = request.params.maxTokens - (tokens.length - request.promptTokens.length) - 1;
    const most = Math.max(0, Math.min(tokensMax, left, positions - tokens.length));
    const stepMs = (tokens: number) => this.#costs.stepMs(kind, tokens);
    const drafts = this.#guesserOf(sequence)
      .guesses(most)
      .map((guesses) => {
        const { tokens, chances } = untilStop(guesses, request.params.stopTokens);
        const isAll = this.#mode === 'always';
        const { length, gain } = isAll ? all(tokens) : draftLength({ chances, rows, stepMs });
        return { tokens: tokens.slice(0, length), gain };
      });
    return drafts.reduce((best, draft) => (draft.gain > best.gain ? draft : best)).tokens;
  }

  /** Notes how long a step of answers alone took. */
  observe(kind: StepKind, rows: number, tokens: number, ms: number): void {
    if (this.#mode === 'auto' && rows <= rowsMax) this.#costs.observe(kind, tokens, ms);
  }

  /**
   * `first` and the choices after it, as long as each is what was guessed.
   * @param at row of the logits that follow the first guess
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

  /** Keeps the answer of a sequence that ended, so that later ones on the same shelf are guessed from it. */
  remember(sequence: Sequence): void {
    const { request, tokens, virtual, constraint } = sequence;
    const answered = tokens.length - request.promptTokens.length;
    // Sequences with a grammar are not guessed.
    if (answered === 0 || constraint !== null) return;
    const from = Math.max(virtual?.count ?? 0, request.promptTokens.length - promptTokensKept);
    this.#past.add(`${sequence.line.flow}`, shelfOf(sequence), tokens.slice(from));
  }

  #guesserOf(sequence: Sequence): TextGuesser {
    const known = this.#guessers.get(sequence);
    if (known) return known;
    const past = this.#past.shelf(`${sequence.line.flow}`, shelfOf(sequence));
    const guesser = new TextGuesser(sequence.tokens, past);
    this.#guessers.set(sequence, guesser);
    return guesser;
  }
}

const shelfOf = (sequence: Sequence): string => JSON.stringify(weightsAndOwner(sequence));

/** Cuts guesses before a stop token: it ends the answer, so nothing follows it. */
function untilStop({ tokens, chances }: Guesses, stopTokens: readonly number[]): Guesses {
  const end = tokens.findIndex((token) => stopTokens.includes(token));
  return end === -1 ? { tokens, chances } : { tokens: tokens.slice(0, end), chances: chances.slice(0, end) };
}

const all = ({ length }: readonly number[]) => ({ length, gain: length });
