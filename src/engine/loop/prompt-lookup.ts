// Guesses what comes next in a sequence from its own tokens: where the last few stood before, what followed them then
// follows again. Guesses cost nothing, so each is compared with what came, whether it was computed ahead or not: that
// says how far ahead guessing pays. Knows tokens alone.

/** Tokens that have to agree before anything is guessed. */
const matchMin = 3;

/** Right guesses in a row, by what is known of how likely one more is. */
const steps = [matchMin + 1, 8, 16, 32] as const;
/** How likely each is before anything is known, and how many guesses that is worth. */
const priors = [0.3, 0.5, 0.7, 0.85, 0.95] as const;
const priorWeight = 4;
/** What was long ago says little of the text now. */
const decay = 0.95;

export class PromptLookup {
  readonly #tokens: readonly number[];
  /** By what stands before it: where the latest token is that it stood before. */
  readonly #follows = new Map<number, number>();
  readonly #rates = priors.map((prior) => ({ hits: prior * priorWeight, count: priorWeight as number }));
  #read = 0;
  /** Where the token is that is expected next; null: nothing is. */
  #at: number | null = null;
  #matched = 0;

  /** @param tokens which become more */
  constructor(tokens: readonly number[]) {
    this.#tokens = tokens;
  }

  /** Tokens in a row that agreed with those before `expected`. */
  get matched(): number {
    return this.#matched;
  }

  /** How likely a guess is right after so many that agreed. */
  readonly chance = (matched: number): number => {
    const { hits, count } = this.#rateOf(matched);
    return hits / count;
  };

  /** What is expected after the last token, at most `count` tokens. */
  expected(count: number): number[] {
    this.#catchUp();
    const guesses: number[] = [];
    if (this.#at === null) return guesses;
    for (let i = 0; i < count; i++) {
      const at: number = this.#at + i;
      // What repeats itself goes on in its own guesses.
      guesses.push(at < this.#tokens.length ? this.#tokens[at]! : guesses[at - this.#tokens.length]!);
    }
    return guesses;
  }

  #catchUp(): void {
    // Of a prompt nobody guesses anything.
    const isPrompt = this.#read === 0;
    for (; this.#read < this.#tokens.length; this.#read++) {
      if (this.#at !== null) this.#compare(this.#tokens[this.#read]!, isPrompt);
      const known = this.#note(this.#read + 1);
      if (this.#at !== null || known === undefined || !this.#agrees(known)) continue;
      this.#at = known;
      this.#matched = matchMin;
    }
  }

  #compare(token: number, isPrompt: boolean): void {
    const isRight = this.#tokens[this.#at!] === token;
    const rate = this.#rateOf(this.#matched);
    if (!isPrompt) {
      rate.hits = rate.hits * decay + Number(isRight);
      rate.count = rate.count * decay + 1;
    }
    this.#at = isRight ? this.#at! + 1 : null;
    this.#matched = isRight ? this.#matched + 1 : 0;
  }

  /** The tokens before `end` stand there now; returns where they stood last. */
  #note(end: number): number | undefined {
    if (end < matchMin) return undefined;
    let key = 0;
    for (let i = end - matchMin; i < end; i++) key = Math.imul(key ^ this.#tokens[i]!, 0x9e3779b1) ^ (key >>> 15);
    const known = this.#follows.get(key);
    this.#follows.set(key, end);
    return known;
  }

  /** Keys of different tokens may be equal. */
  #agrees(end: number): boolean {
    const last = this.#read + 1;
    for (let i = 1; i <= matchMin; i++) if (this.#tokens[end - i] !== this.#tokens[last - i]) return false;
    return true;
  }

  #rateOf(matched: number) {
    const step = steps.findIndex((end) => matched < end);
    return this.#rates[step === -1 ? steps.length : step]!;
  }
}
