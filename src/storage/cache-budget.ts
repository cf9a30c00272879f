// Which blobs a cache holds, by when they were last used, and which it evicts when they are too many. Knows sizes, no
// files.

/** @param evict removes a blob. @returns whether it did; blobs in use stay, even beyond the budget */
export function cacheBudget(bytesMax: number, evict: (digest: string) => Promise<boolean>) {
  /** Bytes by digest, least recently used first. */
  const cached = new Map<string, number>();
  let isEvicting = false;
  let mustLookAgain = false;

  const evictAll = async (): Promise<void> => {
    isEvicting = true;
    while (mustLookAgain) {
      mustLookAgain = false;
      let total = cached.values().reduce((sum, bytes) => sum + bytes, 0);
      for (const [digest, bytes] of [...cached]) {
        if (total <= bytesMax) break;
        if (cached.has(digest) && (await evict(digest))) total -= bytes;
      }
    }
    isEvicting = false;
  };

  return {
    /** Counts a blob that has come into the cache, and evicts others beyond the budget. */
    add(digest: string, bytes: number): void {
      cached.delete(digest);
      cached.set(digest, bytes);
      mustLookAgain = true;
      if (!isEvicting) void evictAll();
    },
    /** Counts a blob that was in the cache before the start; evicts nothing. */
    know: (digest: string, bytes: number): void => void cached.set(digest, bytes),
    use(digest: string): void {
      const bytes = cached.get(digest);
      if (bytes === undefined) return;
      cached.delete(digest);
      cached.set(digest, bytes);
    },
    forget: (digest: string): void => void cached.delete(digest),
    has: (digest: string): boolean => cached.has(digest),
    digests: (): string[] => [...cached.keys()],
  };
}
