// Finds stop strings in text that comes in pieces. The caller ends the sequence; this module knows text only.

export type Stops = {
  readonly texts: readonly string[];
  /** Whether the stop string stays at the end of the output. */
  readonly isKept: boolean;
};

export type StopStrings = {
  /**
   * Takes the next piece.
   * @returns the text that cannot belong to a stop string; after a match always ''
   */
  push(text: string): string;
  /** Gives the text that was held back, when no more text comes. */
  flush(): string;
  readonly found: boolean;
};

/**
 * Makes the search of one sequence. The match that ends first wins, and the longest of those that end together, so that
 * the result does not depend on how the text is cut into pieces. Text that may begin a stop string is held back until
 * that is decided.
 */
export function stopStrings({ texts: stops, isKept }: Stops): StopStrings {
  let held = '';
  let found = false;
  return {
    push(text) {
      if (found) return '';
      if (stops.length === 0) return text;
      const candidate = held + text;
      const match = firstMatch(candidate, stops);
      found = match !== null;
      const certain =
        match !== null ? (isKept ? match.end : match.start) : candidate.length - longestStart(candidate, stops);
      held = found ? '' : candidate.slice(certain);
      return candidate.slice(0, certain);
    },
    flush() {
      const rest = held;
      held = '';
      return rest;
    },
    get found() {
      return found;
    },
  };
}

/** Position of the winning stop string in the text; null where there is none. */
function firstMatch(text: string, stops: readonly string[]): { start: number; end: number } | null {
  let start = -1;
  let end = Number.POSITIVE_INFINITY;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at === -1) continue;
    const stopEnd = at + stop.length;
    if (stopEnd < end || (stopEnd === end && at < start)) [start, end] = [at, stopEnd];
  }
  return start === -1 ? null : { start, end };
}

/** Length of the longest suffix of the text that is a proper prefix of a stop string. */
function longestStart(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
