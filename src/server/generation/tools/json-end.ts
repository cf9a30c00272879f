// Finds where a JSON object or array ends in a text that comes in parts.

export type JsonEnd = {
  /**
   * Takes the next part.
   * @returns the index in `part` behind the value's end; -1 while it is open
   */
  push(part: string): number;
};

/** Makes a search for the end of one value. The first part must begin with the value's opening bracket. */
export function jsonEnd(): JsonEnd {
  let depth = 0;
  let isString = false;
  let isEscaped = false;
  return {
    push(part) {
      for (let i = 0; i < part.length; i++) {
        const character = part[i]!;
        if (isEscaped) isEscaped = false;
        else if (isString && character === '\\') isEscaped = true;
        else if (character === '"') isString = !isString;
        else if (isString) continue;
        else if (character === '{' || character === '[') depth++;
        else if ((character === '}' || character === ']') && --depth === 0) return i + 1;
      }
      return -1;
    },
  };
}
