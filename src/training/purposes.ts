// What randomness is drawn for. Each purpose has a stream of its own, so that none shifts another.

export const purposes = { init: 0, order: 1, dropout: 2 } as const;
