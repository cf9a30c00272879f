export const costsOf = (..._: unknown[]) => ({});
