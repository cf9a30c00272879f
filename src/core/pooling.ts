// How the token rows of a text become one vector: their mean, or the last row.

export const poolings = ['mean', 'last'] as const;
export type Pooling = (typeof poolings)[number];
