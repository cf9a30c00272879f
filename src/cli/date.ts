/** The date and time to the minute, in UTC, as commands print it. */
export const date = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
