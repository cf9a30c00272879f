export const analyseRuns = async (..._: unknown[]) => ({});
