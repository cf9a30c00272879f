// Who wants to know when a job has something new to say.

export function listeners() {
  const byJob = new Map<string, Set<() => void>>();
  return {
    /** @returns a function that ends it */
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
