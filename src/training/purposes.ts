// Purposes of random numbers. Each has a stream of its own, so that drawing for one does not shift another.

export const purposes = { init: 0, order: 1, dropout: 2 } as const;
