// An export on its way out: how many bytes it will have, and those bytes, made one after another as they are taken.

export type Exported = {
  readonly bytes: number;
  chunks(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
};
