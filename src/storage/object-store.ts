// A store of objects that many servers share. What is put there is never changed: a key belongs to one content.

export type ObjectStore = {
  /** The same for whoever means the same place. */
  readonly name: string;
  /**
   * Puts a file, durable when it resolves; the store checks the bytes against `sha256`, in hex. An object that is there
   * already stays, unless it is to be replaced. Throws `storage_unavailable`.
   */
  put(key: string, file: StoredFile, how?: { readonly replaces: boolean }): Promise<void>;
  /** null where it is not there. The bytes may break off. */
  get(key: string): Promise<AsyncIterable<Uint8Array> | null>;
  /** null where it is not there. */
  bytes(key: string): Promise<number | null>;
  remove(key: string): Promise<void>;
  /** Keys in order, after `after`. */
  list(prefix: string, after: string | null, limit: number): Promise<string[]>;
  /** The same, with when each was put, by the store's clock. */
  listAged(prefix: string, after: string | null, limit: number): Promise<AgedObject[]>;
  close(): void;
};

export type AgedObject = { readonly key: string; readonly putAt: number };

export type StoredFile = { readonly path: string; readonly bytes: number; readonly sha256: string };

/** The same store, its keys below a folder. */
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
