// How the tokens of a text become one vector: the mean of their rows, or the last one's.

export const poolings = ['mean', 'last'] as const;
export type Pooling = (typeof poolings)[number];
