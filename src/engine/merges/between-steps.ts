// Short works that need the decoder for themselves: one of them after each step, in the order of their coming, so that
// no row waits for more than one.

export class BetweenSteps {
  readonly #works: (() => Promise<void>)[] = [];
  readonly #onChange: () => void;

  /** @param onChange called when there is work */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get isEmpty(): boolean {
    return this.#works.length === 0;
  }

  /** Resolves with what the work does, when its turn has come. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#works.push(() => work().then(resolve, reject));
      this.#onChange();
    });
  }

  /** The next one; whatever becomes of it is told to who asked for it. */
  async runNext(): Promise<void> {
    await this.#works.shift()?.();
  }
}
