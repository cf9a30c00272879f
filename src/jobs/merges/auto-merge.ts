// Periodically asks the policy about the traffic, and does what it decides. Every decision is logged with its figures.

import { LRUCache } from 'lru-cache';
import type { Clock, Timers } from '../../core/clock.ts';
import { repeatedly } from '../../core/repeatedly.ts';
import type { EngineClient } from '../../protocol/engine-client.ts';
import type { WeightBits } from '../../protocol/messages.ts';
import { type AuditLog, recordChange } from '../../tenants/audit.ts';
import { type AutoMergeDecision, type AutoMergeRules, decideMerges, type MergeNow } from './auto-merge-policy.ts';
import type { Merge } from './merge.ts';
import { expectedMergeBytes } from './merge-bytes.ts';
import type { Merges, MergesOptions } from './merges.ts';
import type { AdapterTraffic, Traffic } from './traffic.ts';

export type AutoMergeOptions = {
  readonly merges: Merges;
  readonly traffic: Traffic;
  readonly engine: Pick<EngineClient, 'info' | 'state'>;
  /** Shares of the generated tokens, 0..1. */
  readonly shareUp: number;
  readonly shareDown: number;
  /** Bits of the merged weights. */
  readonly bits: WeightBits;
  /** Log of the merges made and taken back; left out: none. */
  readonly audit?: Pick<AuditLog, 'write'>;
  readonly limits: MergesOptions['limits'];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: MergesOptions['log'];
  onDecision(decision: AutoMergeDecision): void;
};

/** Starts automatic merging. @returns a function that stops it; the merges stay. */
export function autoMerge(options: AutoMergeOptions): () => void {
  const { merges, traffic, engine, bits, audit, limits, clock, timers, log } = options;
  const rules = rulesOf(options);
  const memory = remember(options);

  const look = async (): Promise<void> => {
    if (engine.info === null || engine.state !== 'ready') return;
    const { shape } = engine.info;
    const there = merges.list();
    // Weights of a failed merge are no candidates: the admin who asked for it decides about another try.
    const keys = new Set(there.map(({ key }) => key));
    const asked = traffic.adapters().filter(({ key }) => !keys.has(key));
    const tokens = traffic.tokens();
    const decisions = decideMerges(rules, {
      ...{ now: clock.monotonic(), tokens, merges: mergesNow(there, traffic) },
      candidates: asked.map(({ key, share, applied }) => ({
        ...{ key, share, restsSince: memory.restsSince(key) },
        bytes: memory.bytesOf(key) ?? expectedMergeBytes(shape, bits, modulesOf(applied)),
      })),
    });
    for (const decision of decisions) {
      const wanted = asked.find(({ key }) => key === decision.key);
      const taken = there.filter(({ key, automatic }) => key === decision.key && automatic);
      const adapters = wanted?.applied.adapters.map(({ adapter }) => adapter) ?? taken[0]?.adapters ?? [];
      const names = adapters.map(({ name, version }) => `${name}@${version}`);
      const { key: _, ...figures } = decision;
      if (memory.isNews(decision)) log.info({ ...figures, adapters: names, tokens }, 'automatic merging');
      options.onDecision(decision);
      await act(decision, wanted, taken).catch((error) => {
        memory.rest(decision.key);
        log.warn({ err: error, adapters: names }, 'an automatic merge could not be begun, or not be taken back');
      });
    }
  };

  const record = (action: string, { tenant, adapters }: Merge, after: unknown) => {
    const target = adapters.map(({ name, version }) => `${name}@${version}`).join('+');
    return recordChange(audit, { tenant, actor: 'policy', action, target, before: null, after }, log);
  };
  const act = async ({ decision }: AutoMergeDecision, wanted: AdapterTraffic | undefined, taken: readonly Merge[]) => {
    if (decision === 'merge' && wanted !== undefined) {
      const merge = await merges.want({ ...wanted.applied, bits, createdBy: null, automatic: true });
      await record('merges.create', merge, { bits, share: wanted.share });
    }
    if (decision === 'unmerge') {
      for (const merge of taken) {
        await merges.unmerge(merge.tenant, merge.key, 'policy');
        await record('merges.delete', merge, null);
      }
    }
  };

  return repeatedly(timers, limits.autoMergePeriodMs, () =>
    look().catch((error) => log.error({ err: error }, 'automatic merging failed')),
  );
}

const rulesOf = ({ shareUp, shareDown, merges, limits }: AutoMergeOptions): AutoMergeRules => ({
  ...{ shareUp, shareDown, budgetBytes: merges.budgetBytes },
  mergesMax: limits.autoMerges,
  lifeMs: limits.autoMergeLifeMs,
  retryMs: limits.autoMergeRetryMs,
  tokensMin: limits.autoMergeTokensMin,
});

/** Groups merges by weights: tenants with the same weights share one, and it is an admin's if any of them is. */
function mergesNow(merges: readonly Merge[], { shareOf }: Traffic): MergeNow[] {
  const byKey = Map.groupBy(
    merges.filter(({ state }) => state !== 'failed'),
    ({ key }) => key,
  );
  return [...byKey].map(([key, wishes]): MergeNow => {
    const { state, since, figures } = wishes.find((wish) => wish.state !== 'draining') ?? wishes[0]!;
    return {
      ...{ key, share: shareOf(key), bytes: figures?.bytes ?? 0 },
      automatic: wishes.every((wish) => wish.automatic),
      state: state === 'merged' || state === 'draining' ? state : 'merging',
      since: since ?? 0,
    };
  });
}

const modulesOf = ({ adapters }: AdapterTraffic['applied']) => adapters.flatMap(({ adapter }) => adapter.targetModules);

/** What earlier rounds showed: sizes, failures and admins' unmerges, and the reasons for waiting that were logged. */
function remember({ merges, clock, limits: { trafficAdapters: max } }: AutoMergeOptions) {
  const bytes = new LRUCache<string, number>({ max });
  const rests = new LRUCache<string, number>({ max });
  const told = new LRUCache<string, string>({ max });
  const rest = (key: string) => void rests.set(key, clock.monotonic());
  merges.listen({
    merged: ({ key, figures }) => void bytes.set(key, figures?.bytes ?? 0),
    failed: ({ key }) => rest(key),
    unmerging({ key }, by) {
      if (by === 'admin') rest(key);
    },
  });
  return {
    rest,
    restsSince: (key: string): number | null => rests.get(key) ?? null,
    /** Size of the weights' last merge; null: never merged. */
    bytesOf: (key: string): number | null => bytes.get(key) ?? null,
    /** Whether to log the decision: a reason to wait is logged once, not in every round. */
    isNews({ key, decision, reason }: AutoMergeDecision): boolean {
      const what = `${decision}: ${reason}`;
      const isNews = decision !== 'wait' || told.get(key) !== what;
      told.set(key, what);
      return isNews;
    },
  };
}
