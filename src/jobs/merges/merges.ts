// Which merges there are: wanted by whom, of which versions, and how far they are. This file is the contract; the
// server sees nothing else of merges. A merge means immutable versions: names and aliases were read before.

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
  /** null: each linear's own, or what a merge has that is there already. */
  readonly bits: WeightBits | null;
  readonly createdBy: string | null;
  /** Wanted by the policy, which may take it back. An admin's order of the same makes it an admin's. */
  readonly automatic: boolean;
};

/** Who no longer wants it; `deletion`: one of its versions is being deleted; `other server`: it was asked there. */
export type UnmergedBy = 'admin' | 'policy' | 'deletion' | 'other server';

export type MergeListener = {
  merged?(merge: Merge): void;
  failed?(merge: Merge): void;
  unmerging?(merge: Merge, by: UnmergedBy): void;
};

export type Merges = {
  /** Bytes that merged weights may take beside the base's. */
  readonly budgetBytes: number;
  /** Bytes that they take, those of all tenants. */
  readonly usedBytes: number;
  /** Bytes of the merges that a tenant wants; those that others want as well count for each. */
  usedBytesOf(tenant: string): number;
  /** What the engine calls a tenant's merge of these weights; null: it wants none. */
  keyFor(tenant: string, key: string): string | null;
  /**
   * The merge of these versions: stored, and wanted from now on. The same again is the same merge; one that failed is
   * tried again. Throws what a lease throws, `engine_unavailable`, `server_draining`, `merge_budget_exceeded` for too
   * many of one tenant, `adapter_unsupported` for virtual tokens, and `invalid_parameter` for other bits than it has.
   */
  want(order: MergeOrder): Promise<Merge>;
  /** Not wanted any more: it goes when the sequences that run on it have ended. Throws `merge_not_found`. */
  unmerge(tenant: string, key: string, by: UnmergedBy): Promise<Merge>;
  /** null where there is none. */
  find(tenant: string, key: string): Merge | null;
  /** Of one tenant, or of all, oldest first. */
  list(tenant?: string): Merge[];
  /** Resolves when `isOver` holds, after `ms`, or when the signal is aborted. */
  wait(isOver: () => boolean, ms: number, signal: AbortSignal): Promise<void>;
  listen(listener: MergeListener): void;
  /** Waits for what is being written. The engine's merges end with the engine. */
  close(): Promise<void>;
};

type Log = (fields: object, message: string) => void;

export type MergesOptions = {
  readonly table: MergeTable;
  readonly registry: Pick<AdapterRegistry, 'lease' | 'markCorrupt'>;
  readonly engine: EngineClient;
  readonly budgetBytes: number;
  /** Token ids of short texts, on which merged and unmerged are compared. */
  probes(): readonly (readonly number[])[];
  /** Whether what the policy wanted in the last run is wanted still. */
  readonly keepsAutomatic: boolean;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: { readonly info: Log; readonly warn: Log; readonly error: Log };
  readonly limits: Limits;
  /** Left out: nobody has a quota. */
  readonly assertQuota?: QuotaCheck;
  /** Servers beside this one; left out: there are none. */
  readonly changes?: Changes;
};
