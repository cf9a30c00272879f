// Listeners to new events, by job.

export function listeners() {
  const byJob = new Map<string, Set<() => void>>();
  return {
    /** @returns a function that removes the listener */
    add(job: string, listener: () => void): () => void {
      const those = byJob.get(job) ?? new Set();
      byJob.set(job, those.add(listener));
      return () => {
        those.delete(listener);
        if (those.size === 0) byJob.delete(job);
      };
    },
    tell(job: string): void {
      for (const listener of byJob.get(job) ?? []) listener();
    },
  };
}
