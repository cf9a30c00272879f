// An export: its length in bytes, and its bytes, which are made as they are read.

export type Exported = {
  readonly bytes: number;
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
};
