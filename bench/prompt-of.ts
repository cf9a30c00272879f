/** Makes a prompt of `length` tokens. Prompts of different seeds have no beginning in common. */
export const promptOf = (seed: number, length: number): number[] =>
  Array.from({ length }, (_, i) => 1000 + ((seed * 7919 + i * 104_729) % 30_000));
