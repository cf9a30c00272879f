// The merges that the engine has, by what weights they are: asks for what is wanted, gives up what is not, and follows
// what the engine says. Knows no tenants: who wants the same weights shares them.

import type { EngineClient } from '../../protocol/engine-client.ts';
import type { MergeEvent, MergeRequest } from '../../protocol/messages.ts';
import type { MergeFailure, MergeFigures } from './merge.ts';

export type MergePhase =
  | { readonly state: 'merging'; readonly progress: number }
  /** `since`: the clock's monotonic reading. */
  | { readonly state: 'merged'; readonly figures: MergeFigures; readonly since: number }
  /** Its memory is not given back yet. */
  | { readonly state: 'draining'; readonly bytes: number }
  | { readonly state: 'failed'; readonly failure: MergeFailure };

export type EngineMerges = ReturnType<typeof engineMerges>;

type Engine = Pick<EngineClient, 'merge' | 'unmerge' | 'onMerge'>;
type Held = {
  phase: MergePhase;
  /** Wanted again while it drains: the engine is asked when it has gone, since a key that is there is none of news. */
  next: MergeRequest | null;
};

/** @param onChange called after each change of a phase; null: the engine has it no longer */
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
    // What it said before it heard of the unmerge is of no interest.
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
    /** Asks for it, unless it is there or on its way. */
    want(request: MergeRequest): void {
      const held = all.get(request.key);
      if (held?.phase.state === 'draining') held.next = request;
      else if (held === undefined || held.phase.state === 'failed') ask(request);
    },
    /** Nobody wants it any more. */
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
    /** null: the engine has none. What a former engine had made is being made again. */
    phase(key: string): MergePhase | null {
      const held = all.get(key);
      if (held === undefined) return null;
      if (held.next !== null) return { state: 'merging', progress: 0 };
      return held.phase;
    },
    /** Bytes of all of them, those that drain included. */
    bytes: (): number => [...all.values()].reduce((sum, { phase }) => sum + bytesOf(phase), 0),
  };
}

function bytesOf(phase: MergePhase): number {
  if (phase.state === 'merged') return phase.figures.bytes;
  return phase.state === 'draining' ? phase.bytes : 0;
}
