// What a cache holds, by when it was used last, and what has to go when it is too much. Knows sizes, no files.

/** @param evict gives one up. @returns whether it did; what is in use stays, beyond the budget where it must */
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
    /** It has come. */
    add(digest: string, bytes: number): void {
      cached.delete(digest);
      cached.set(digest, bytes);
      mustLookAgain = true;
      if (!isEvicting) void evictAll();
    },
    /** It was there before; nothing is evicted for it. */
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
