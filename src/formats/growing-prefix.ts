// Parses a header whose length only the header itself tells.

export type GrowingPrefix = {
  /** Bytes of the first prefix, enough for most headers. */
  readonly first: number;
  /** Longest header. */
  readonly most: number;
};

/**
 * Parses prefixes of a file, each four times as long as the one before, until `parse` does not return null. Returns
 * null where the longest prefix is too short.
 * @param read reads the first `bytes` bytes, or all where the file is shorter
 */
export function parseGrowing<Header>(
  read: (bytes: number) => Uint8Array,
  parse: (prefix: Uint8Array) => Header | null,
  { first, most }: GrowingPrefix,
): Header | null {
  for (let bytes = Math.min(first, most); ; bytes = Math.min(4 * bytes, most)) {
    const header = parse(read(bytes));
    if (header !== null || bytes === most) return header;
  }
}
