/** Quotes a name from a file for a message, with control characters escaped and the length bounded. */
export const quoteName = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}...` : name);
