// Parses a tool call's arguments, for interfaces whose calls have values and not text.

/** The arguments' value; an empty object for arguments that were cut off. */
export function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
