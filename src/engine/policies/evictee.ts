// Chooses the adapter that leaves memory for another one. Pure.

export type IdleAdapter = { readonly key: string; readonly bytes: number; readonly flow: number };

/**
 * The least recently used adapter of the flow that keeps most bytes: a flow that goes through thousands of adapters
 * drops its own before anybody else's. With one flow this is plain LRU.
 * @param idle the least recently used first, at least one
 */
export function evictee(idle: readonly IdleAdapter[]): string {
  const kept = new Map<number, number>();
  for (const { flow, bytes } of idle) kept.set(flow, (kept.get(flow) ?? 0) + bytes);
  const most = Math.max(...kept.values());
  return idle.find(({ flow }) => kept.get(flow) === most)!.key;
}
