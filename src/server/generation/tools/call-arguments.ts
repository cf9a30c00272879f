// A call's arguments as values, for interfaces that have no text there.

/** An output that was cut off leaves half of them: none. */
export function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
