// The merges of all tenants. This file is the contract; the server uses nothing else of merges. A merge consists of
// immutable versions: names and aliases are resolved before.

import type { Clock, Timers } from '../../core/clock.ts';
import type { Limits } from '../../core/limits.ts';
import type { QuotaCheck } from '../../core/quota-check.ts';
import type { EngineClient } from '../../protocol/engine-client.ts';
import type { WeightBits } from '../../protocol/messages.ts';
import type { AdapterRegistry, AdapterVersion } from '../../registry/adapter-registry.ts';
import type { MergeTable } from '../../storage/merge-table.ts';
import type { Changes } from '../../storage/replicas/changes.ts';
import type { Merge } from './merge.ts';

export type MergeOrder = {
  readonly tenant: string;
  readonly adapters: readonly { readonly adapter: AdapterVersion; readonly scale: number }[];
  /** Bits of the merged weights; null: each linear's own, or those of the merge that is there already. */
  readonly bits: WeightBits | null;
  readonly createdBy: string | null;
  /** Whether the policy wants it, which may take it back. An admin's order for the same merge makes it an admin's. */
  readonly automatic: boolean;
};

/** Who ended the merge; `deletion`: one of its versions is being deleted; `other server`: it was ended there. */
export type UnmergedBy = 'admin' | 'policy' | 'deletion' | 'other server';

export type MergeListener = {
  merged?(merge: Merge): void;
  failed?(merge: Merge): void;
  unmerging?(merge: Merge, by: UnmergedBy): void;
};

export type Merges = {
  /** Bytes that merged weights may take beside the base's. */
  readonly budgetBytes: number;
  /** Bytes that the merges of all tenants take. */
  readonly usedBytes: number;
  /** Bytes of a tenant's merges. One that several tenants want counts for each of them. */
  usedBytesOf(tenant: string): number;
  /** The engine's key of a tenant's merge of these weights; null: the tenant has none. */
  keyFor(tenant: string, key: string): string | null;
  /**
   * Stores the merge and wants it from now on. The same order again gives the same merge, and retries one that failed.
   * Throws what a lease throws, `engine_unavailable`, `server_draining`, `merge_budget_exceeded` where the tenant has
   * too many, `adapter_unsupported` for virtual tokens, and `invalid_parameter` for other bits than the merge has.
   */
  want(order: MergeOrder): Promise<Merge>;
  /** Ends a merge. Its memory is free when the sequences that use it have ended. Throws `merge_not_found`. */
  unmerge(tenant: string, key: string, by: UnmergedBy): Promise<Merge>;
  /** null where there is none. */
  find(tenant: string, key: string): Merge | null;
  /** Merges of one tenant, or of all, oldest first. */
  list(tenant?: string): Merge[];
  /** Resolves when `isOver` holds, after `ms`, or when the signal is aborted. */
  wait(isOver: () => boolean, ms: number, signal: AbortSignal): Promise<void>;
  listen(listener: MergeListener): void;
  /** Waits for writes under way. The engine's merges end with the engine. */
  close(): Promise<void>;
};

type Log = (fields: object, message: string) => void;

export type MergesOptions = {
  readonly table: MergeTable;
  readonly registry: Pick<AdapterRegistry, 'lease' | 'markCorrupt'>;
  readonly engine: EngineClient;
  readonly budgetBytes: number;
  /** Token ids of short texts, on which merged and unmerged weights are compared. */
  probes(): readonly (readonly number[])[];
  /** Whether automatic merges of the last run are wanted again. */
  readonly keepsAutomatic: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { readonly info: Log; readonly warn: Log; readonly error: Log };
  readonly limits: Limits;
  /** Left out: there are no quotas. */
  readonly assertQuota?: QuotaCheck;
  /** The feed of other servers; left out: there are none. */
  readonly changes?: Changes;
};
