// The merges that the engine has, by weights: asks for those that are wanted, drops the others, and follows the
// engine's messages. Knows no tenants: those who want the same weights share a merge.

import type { EngineClient } from '../../protocol/engine-client.ts';
import type { MergeEvent, MergeRequest } from '../../protocol/messages.ts';
import type { MergeFailure, MergeFigures } from './merge.ts';

export type MergePhase =
  | { readonly state: 'merging'; readonly progress: number }
  /** `since`: the monotonic clock's time in milliseconds. */
  | { readonly state: 'merged'; readonly figures: MergeFigures; readonly since: number }
  /** Unmerged, but its memory is not free yet. */
  | { readonly state: 'draining'; readonly bytes: number }
  | { readonly state: 'failed'; readonly failure: MergeFailure };

export type EngineMerges = ReturnType<typeof engineMerges>;

type Engine = Pick<EngineClient, 'merge' | 'unmerge' | 'onMerge'>;
type Held = {
  phase: MergePhase;
  /** A request that came while the merge drains. The engine gets it afterwards, since it ignores a key that it has. */
  next: MergeRequest | null;
};

/** @param onChange called after each change of a phase; null: the engine no longer has the merge */
export function engineMerges(
  engine: Engine,
  now: () => number,
  onChange: (key: string, phase: MergePhase | null) => void,
) {
  const all = new Map<string, Held>();

  const ask = (request: MergeRequest): void => {
    all.set(request.key, { phase: { state: 'merging', progress: 0 }, next: null });
    engine.merge(request);
  };

  const settle = (key: string, held: Held, phase: MergePhase): void => {
    held.phase = phase;
    onChange(key, phase);
  };

  engine.onMerge((event: MergeEvent) => {
    const { key } = event;
    const held = all.get(key);
    if (held === undefined) return;
    // The engine sent this before it read the unmerge.
    if (held.phase.state === 'draining' && event.state !== 'unmerged') return;
    switch (event.state) {
      case 'merging':
        return settle(key, held, { state: 'merging', progress: Math.min(Math.max(event.progress, 0), 1) });
      case 'merged': {
        const { bits, bytes, ms, quality } = event;
        return settle(key, held, { state: 'merged', figures: { bits, bytes, ms, quality }, since: now() });
      }
      case 'failed':
        return settle(key, held, { state: 'failed', failure: { code: event.code, message: event.message } });
      case 'unmerged':
        if (held.phase.state !== 'draining') return;
        all.delete(key);
        if (held.next !== null) ask(held.next);
        onChange(key, all.get(key)?.phase ?? null);
    }
  });

  return {
    /** Asks the engine for the merge, unless it has it or is making it. */
    want(request: MergeRequest): void {
      const held = all.get(request.key);
      if (held?.phase.state === 'draining') held.next = request;
      else if (held === undefined || held.phase.state === 'failed') ask(request);
    },
    /** Unmerges weights that no tenant wants any more. */
    drop(key: string): void {
      const held = all.get(key);
      if (held === undefined) return;
      held.next = null;
      if (held.phase.state === 'draining') return;
      if (held.phase.state === 'failed') {
        all.delete(key);
        return;
      }
      held.phase = { state: 'draining', bytes: bytesOf(held.phase) };
      engine.unmerge(key);
    },
    /** The merge's phase; null: the engine has none. After a restart of the engine its merges are being made again. */
    phase(key: string): MergePhase | null {
      const held = all.get(key);
      if (held === undefined) return null;
      if (held.next !== null) return { state: 'merging', progress: 0 };
      return held.phase;
    },
    /** Bytes of all merges, draining ones included. */
    bytes: (): number => [...all.values()].reduce((sum, { phase }) => sum + bytesOf(phase), 0),
  };
}

function bytesOf(phase: MergePhase): number {
  if (phase.state === 'merged') return phase.figures.bytes;
  return phase.state === 'draining' ? phase.bytes : 0;
}
