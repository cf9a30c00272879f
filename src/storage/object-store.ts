// A store of objects that many servers share. An object never changes: its key belongs to one content.

export type ObjectStore = {
  /** Names the place: two stores of the same place have the same name. */
  readonly name: string;
  /**
   * Puts a file, durable when it resolves; the store checks the bytes against `sha256`, in hex. An object that is there
   * already stays, unless it is to be replaced. Throws `storage_unavailable`.
   */
  put(key: string, file: StoredFile, how?: { readonly replaces: boolean }): Promise<void>;
  /** The object's bytes, null where it is not there. Reading them may throw `storage_unavailable` half-way. */
  get(key: string): Promise<AsyncIterable<Uint8Array> | null>;
  /** The object's size in bytes, null where it is not there. */
  bytes(key: string): Promise<number | null>;
  remove(key: string): Promise<void>;
  /** Keys that begin with `prefix`, in order, after `after`. */
  list(prefix: string, after: string | null, limit: number): Promise<string[]>;
  /** The same keys, each with the time when it was put, by the store's clock. */
  listAged(prefix: string, after: string | null, limit: number): Promise<AgedObject[]>;
  close(): void;
};

export type AgedObject = { readonly key: string; readonly putAt: number };

export type StoredFile = { readonly path: string; readonly bytes: number; readonly sha256: string };

/** A view of the store with all keys below `folder`. */
export function below(store: ObjectStore, folder: string): ObjectStore {
  const key = (name: string) => `${folder}/${name}`;
  return {
    ...store,
    name: `${store.name}/${folder}`,
    put: (name, file, how) => store.put(key(name), file, how),
    get: (name) => store.get(key(name)),
    bytes: (name) => store.bytes(key(name)),
    remove: (name) => store.remove(key(name)),
    async list(prefix, after, limit) {
      const found = await store.list(key(prefix), after === null ? null : key(after), limit);
      return found.map((name) => name.slice(folder.length + 1));
    },
    async listAged(prefix, after, limit) {
      const found = await store.listAged(key(prefix), after === null ? null : key(after), limit);
      return found.map((one) => ({ ...one, key: one.key.slice(folder.length + 1) }));
    },
  };
}
