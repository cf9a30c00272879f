// Keeps the store, the engine and the leases of files in agreement with the merges that are wanted. The store has
// merges that are wanted or have failed. A merge that is no longer wanted drains; it is only in memory and in the
// engine.

import { LorikeetError } from '../../core/errors.ts';
import { serially } from '../../core/serially.ts';
import type { MergeRow } from '../../storage/tables.ts';
import { type EngineMerges, engineMerges, type MergePhase } from './engine-merges.ts';
import { type HeldFiles, holdFiles } from './hold-files.ts';
import type { Merge, MergedAdapter, MergeFailure, MergeFigures } from './merge.ts';
import { fromRow, type StoredMerge, toRow } from './merge-row.ts';
import type { MergeListener, MergeOrder, Merges, MergesOptions, UnmergedBy } from './merges.ts';
import { type Waiters, waiters } from './waiters.ts';
import {
  adaptersOf,
  assertStays,
  engineKeyOf,
  failureOf,
  idOf,
  keyOf,
  namesOf,
  newWish,
  viewOf,
  type Wish,
} from './wish.ts';

/** Opens the merges and asks for all stored ones, one after another in the background: their files are read first. */
export async function openMerges(options: MergesOptions): Promise<Merges> {
  const keeper = new MergeKeeper(options);
  options.changes?.listen({
    apply: ({ kind, tenant, name }) => (kind === 'merge' ? keeper.follow(tenant, name) : undefined),
    forgetAll: () => keeper.followAll(),
  });
  await keeper.restore();
  return keeper;
}

class MergeKeeper implements Merges {
  readonly #options: MergesOptions;
  readonly #engine: EngineMerges;
  /** Wishes by tenant and key, oldest first. */
  readonly #wishes = new Map<string, Wish>();
  readonly #listeners: MergeListener[] = [];
  readonly #waiters: Waiters;
  /** Runs writes one after another, in the order in which memory changed. */
  readonly #exclusive = serially();
  #lastRestored: Promise<unknown> = Promise.resolve();

  constructor(options: MergesOptions) {
    this.#options = options;
    this.#waiters = waiters(options.timers);
    const now = () => options.clock.monotonic();
    this.#engine = engineMerges(options.engine, now, (key, phase) => this.#onPhase(key, phase));
  }

  get #isShared(): boolean {
    return this.#options.changes?.isShared ?? false;
  }

  get budgetBytes(): number {
    return this.#options.budgetBytes;
  }

  get usedBytes(): number {
    return this.#engine.bytes();
  }

  usedBytesOf(tenant: string): number {
    return this.list(tenant).reduce((sum, { state, figures }) => {
      const isThere = state === 'merged' || state === 'draining';
      return sum + (isThere ? (figures?.bytes ?? 0) : 0);
    }, 0);
  }

  keyFor(tenant: string, key: string): string | null {
    const wish = this.#wishes.get(idOf({ tenant, key }));
    return wish === undefined || wish.isLeaving || wish.merge.failure !== null ? null : engineKeyOf(wish.merge);
  }

  async want(order: MergeOrder): Promise<Merge> {
    assertTakes(this.#options.engine);
    const virtual = order.adapters.find(({ adapter }) => adapter.virtualTokens !== undefined);
    if (virtual !== undefined) {
      const { name, version } = virtual.adapter;
      const message = `'${name}@${version}' has virtual tokens, which change no weights: there is nothing to merge.`;
      throw new LorikeetError('adapter_unsupported', { message });
    }
    const adapters = adaptersOf(order);
    const key = keyOf(adapters);
    const there = this.#wishes.get(idOf({ tenant: order.tenant, key }));
    if (there !== undefined) this.#assertBits(there, order);
    const wish = there === undefined || there.isLeaving ? this.#make(order, key, adapters) : this.#again(there, order);
    await wish.opened;
    return this.#view(wish);
  }

  async unmerge(tenant: string, key: string, by: UnmergedBy): Promise<Merge> {
    const wish = this.#wishes.get(idOf({ tenant, key }));
    if (wish === undefined) throw new LorikeetError('merge_not_found');
    await this.#leave(wish, by);
    return this.find(tenant, key) ?? { ...this.#view(wish), state: 'unmerged' };
  }

  find(tenant: string, key: string): Merge | null {
    const wish = this.#wishes.get(idOf({ tenant, key }));
    return wish === undefined ? null : this.#view(wish);
  }

  list(tenant?: string): Merge[] {
    const wishes = [...this.#wishes.values()];
    return wishes
      .filter(({ merge }) => tenant === undefined || merge.tenant === tenant)
      .map((wish) => this.#view(wish));
  }

  listen(listener: MergeListener): void {
    this.#listeners.push(listener);
  }

  wait(isOver: () => boolean, ms: number, signal: AbortSignal): Promise<void> {
    return this.#waiters.wait(isOver, ms, signal);
  }

  async close(): Promise<void> {
    await this.#exclusive(async () => {});
  }

  async restore(): Promise<void> {
    const { table, keepsAutomatic, log } = this.#options;
    for (const row of await table.all()) {
      const merge = fromRow(row);
      if (merge.automatic && (!keepsAutomatic || this.#isShared)) {
        await table.delete(merge.tenant, merge.key);
        log.info({ adapters: namesOf(merge) }, 'an automatic merge of the last run is not wanted any more');
        continue;
      }
      this.#restoreOne(this.#isShared ? { ...merge, failure: null } : merge);
    }
  }

  /** Wants a stored merge again, after the others that are being restored. */
  #restoreOne(merge: StoredMerge): void {
    const wish = newWish(merge);
    wish.isStored = true;
    this.#wishes.delete(idOf(merge));
    this.#wishes.set(idOf(merge), wish);
    const begin = (): Promise<unknown> => (merge.failure === null ? this.#open(wish) : this.#hold(wish));
    wish.opened = this.#lastRestored.then(begin).catch((error) => this.#notRestored(wish, error));
    this.#lastRestored = wish.opened;
  }

  /**
   * Does what another server has stored: wants a merge that was asked for there, tries a failed one again, and leaves
   * one that was unmerged there.
   */
  async follow(tenant: string, key: string): Promise<void> {
    const row = await this.#options.table.find(tenant, key);
    const wish = this.#wishes.get(idOf({ tenant, key }));
    const hasFailed = wish !== undefined && wish.merge.failure !== null;
    if (row !== undefined && (wish === undefined || wish.isLeaving || hasFailed)) {
      if (hasFailed) wish.files?.release();
      this.#restoreOne({ ...fromRow(row), failure: null });
    }
    if (row === undefined && wish?.isStored) await this.#leave(wish, 'other server');
    this.#waiters.changed();
  }

  async followAll(): Promise<void> {
    const stored = (await this.#options.table.all()).map((row) => ({ tenant: row.tenant, key: row.merge_key }));
    const known = [...this.#wishes.values()].map(({ merge: { tenant, key } }) => ({ tenant, key }));
    for (const { tenant, key } of [...stored, ...known]) await this.follow(tenant, key);
  }

  // --- the life of a wish ---

  #make(order: MergeOrder, key: string, adapters: readonly MergedAdapter[]): Wish {
    const { tenant, bits: bitsAsked, createdBy, automatic } = order;
    this.#assertRoom(order, this.list(tenant));
    const createdAt = this.#options.clock.now();
    const wish = newWish({
      ...{ tenant, key, adapters, bitsAsked, automatic, createdAt, createdBy },
      ...{ figures: null, failure: null },
    });
    const id = idOf({ tenant, key });
    this.#wishes.delete(id);
    this.#wishes.set(id, wish);
    this.#begin(wish, () => {
      this.#forget(wish);
      wish.files?.release();
    });
    return wish;
  }

  #assertRoom(
    { tenant, createdBy }: Pick<Merge, 'tenant' | 'createdBy'>,
    others: readonly Pick<Merge, 'createdBy'>[],
  ): void {
    const { limits, assertQuota } = this.#options;
    const keys = others.filter((merge) => merge.createdBy === createdBy).length;
    assertQuota?.({ tenant, keyPrefix: createdBy }, 'merges', { tenant: others.length + 1, key: keys + 1 });
    if (others.length < limits.merges) return;
    const message = `There are ${limits.merges} merges, failed ones included. Unmerge some first.`;
    throw new LorikeetError('merge_budget_exceeded', { message });
  }

  #again(wish: Wish, { bits, automatic, createdBy }: MergeOrder): Wish {
    const { failure } = wish.merge;
    if (failure !== null) {
      wish.merge = { ...wish.merge, failure: null, bitsAsked: bits ?? wish.merge.bitsAsked };
      wish.isStored = false;
      this.#begin(wish, () => {
        wish.merge = { ...wish.merge, failure };
      });
    }
    if (wish.merge.automatic && !automatic) {
      wish.merge = { ...wish.merge, automatic, createdBy };
      wish.opened = wish.opened.then(() => this.#save(wish));
      wish.opened.catch(() => {});
    } else if (this.#isShared && failure === null && !automatic) {
      // Stores it again for the other servers, on which it may have failed.
      wish.opened = wish.opened.then(() => this.#save(wish));
      wish.opened.catch(() => {});
    }
    return wish;
  }

  /** @param undo called where the wish cannot be opened */
  #begin(wish: Wish, undo: () => void): void {
    wish.opened = this.#open(wish).catch((error) => {
      undo();
      throw error;
    });
    // Each caller awaits it. Where the callers have left, a rejection must not end the server.
    wish.opened.catch(() => {});
  }

  async #open(wish: Wish): Promise<void> {
    const files = await this.#hold(wish);
    const probes = this.#options.probes();
    // A wish from the store needs no second write, of which the other servers would hear.
    if (!this.#isShared || !wish.isStored) await this.#save(wish);
    assertStays(wish);
    const { bitsAsked: bits, failure } = wish.merge;
    // The same weights may have failed meanwhile for another tenant.
    if (failure === null) this.#engine.want({ key: engineKeyOf(wish.merge), adapters: files.adapters, bits, probes });
  }

  /** Leases the wish's files. A failed merge holds them too: it is forgotten when they are deleted. */
  async #hold(wish: Wish): Promise<HeldFiles> {
    const onDeleting = () => void this.#leave(wish, 'deletion').catch((error) => this.#logUnwritten(wish, error));
    const files = await holdFiles(this.#options.registry, wish.merge, onDeleting);
    wish.files?.release();
    wish.files = files;
    if (wish.isLeaving) files.release();
    assertStays(wish);
    return files;
  }

  async #notRestored(wish: Wish, cause: unknown): Promise<void> {
    if (wish.isLeaving) return;
    const { log, table } = this.#options;
    const { tenant, key } = wish.merge;
    const failure = wish.merge.failure ?? failureOf(cause);
    log.error({ err: cause, tenant, adapters: namesOf(wish.merge) }, 'a merge of the last run could not be restored');
    // The row stays: the next start may have the right files or the right base model again.
    wish.merge = { ...wish.merge, failure };
    if (['adapter_not_found', 'adapter_deleting'].includes(failureOf(cause).code)) {
      this.#forget(wish);
      await this.#exclusive(() => table.delete(tenant, key)).catch((error) => this.#logUnwritten(wish, error));
    }
    this.#waiters.changed();
  }

  /** Leaves the merge in memory at once, so that a deletion waits for nothing. Resolves when the store is written. */
  #leave(wish: Wish, by: UnmergedBy): Promise<void> {
    if (wish.isLeaving) return Promise.resolve();
    const { tenant, key } = wish.merge;
    const engineKey = engineKeyOf(wish.merge);
    const merge = this.#view(wish);
    wish.isLeaving = true;
    wish.files?.release();
    const isShared = this.#wishesFor(engineKey).length > 0;
    if (!isShared) this.#engine.drop(engineKey);
    if (isShared || this.#engine.phase(engineKey)?.state !== 'draining') this.#forget(wish);
    for (const listener of this.#listeners) listener.unmerging?.(merge, by);
    this.#options.log.info({ tenant, by, adapters: namesOf(merge), state: merge.state }, 'unmerging');
    this.#waiters.changed();
    return this.#exclusive(() => this.#options.table.delete(tenant, key));
  }

  #forget(wish: Wish): void {
    const id = idOf(wish.merge);
    if (this.#wishes.get(id) === wish) this.#wishes.delete(id);
  }

  // --- events of the engine ---

  /** The engine's phase has changed. While a merge drains this is called only at its end. */
  #onPhase(key: string, phase: MergePhase | null): void {
    for (const wish of [...this.#wishes.values()]) {
      if (engineKeyOf(wish.merge) === key && wish.isLeaving) this.#forget(wish);
    }
    for (const [i, wish] of this.#wishesFor(key).entries()) {
      if (phase?.state === 'merged') this.#onMerged(wish, phase.figures, i === 0);
      if (phase?.state === 'failed') this.#onFailed(wish, phase.failure);
    }
    this.#waiters.changed();
  }

  #onMerged(wish: Wish, figures: MergeFigures, isFirst: boolean): void {
    wish.merge = { ...wish.merge, figures };
    // With several servers, each has its own figures; they share only the wish.
    if (!this.#isShared) this.#save(wish).catch((error) => this.#logUnwritten(wish, error));
    if (!isFirst) return;
    const { log } = this.#options;
    log.info({ adapters: namesOf(wish.merge), ...figures, automatic: wish.merge.automatic }, 'merged');
    for (const listener of this.#listeners) listener.merged?.(this.#view(wish));
  }

  #onFailed(wish: Wish, failure: MergeFailure): void {
    const { log, registry, table } = this.#options;
    const { tenant, key, adapters, automatic } = wish.merge;
    wish.merge = { ...wish.merge, failure };
    log.warn({ tenant, adapters: namesOf(wish.merge), automatic, ...failure }, 'a merge failed');
    if (failure.code === 'adapter_corrupt' && adapters.length === 1) {
      registry
        .markCorrupt(adapters[0]!.digest)
        .catch((error) => log.error({ err: error }, 'an adapter was not marked'));
    }
    for (const listener of this.#listeners) listener.failed?.(this.#view(wish));
    // Nobody asked for an automatic merge, so nobody is told of its failure.
    if (automatic) {
      this.#forget(wish);
      wish.files?.release();
    }
    const engineKey = engineKeyOf(wish.merge);
    if (this.#wishesFor(engineKey).length === 0) this.#engine.drop(engineKey);
    // With several servers, a failure is this server's alone: the others go on, and its next start tries again.
    if (this.#isShared) return;
    const written = automatic ? this.#exclusive(() => table.delete(tenant, key)) : this.#save(wish);
    written.catch((error) => this.#logUnwritten(wish, error));
  }

  // --- views and checks, and the store ---

  #view(wish: Wish): Merge {
    return viewOf(wish, this.#engine.phase(engineKeyOf(wish.merge)));
  }

  /** Wishes for this merge that have not failed. @param key the engine's */
  #wishesFor(key: string): Wish[] {
    return [...this.#wishes.values()].filter(({ merge, isLeaving }) => {
      return engineKeyOf(merge) === key && merge.failure === null && !isLeaving;
    });
  }

  /** Throws where the tenant has a merge of the same weights with other bits. */
  #assertBits(wish: Wish, { bits }: MergeOrder): void {
    if (bits === null || wish.isLeaving || wish.merge.failure !== null) return;
    const { state, figures, bitsAsked } = this.#view(wish);
    const has = state === 'merged' ? (figures?.bits ?? null) : bitsAsked;
    if (has === bits) return;
    const message = `It is merged with ${has === null ? 'its own' : has} bits. Unmerge it first.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'bits' });
  }

  #save(wish: Wish): Promise<void> {
    return this.#exclusive(async () => {
      // Automatic merges are not shared: every server decides by itself.
      if (wish.isLeaving || (wish.merge.automatic && this.#isShared)) return;
      const { table } = this.#options;
      if (!this.#isShared) await table.save(toRow(wish.merge));
      else {
        // Other servers may have stored merges since the check here, so it is repeated in the transaction.
        const assertRoom = (others: readonly MergeRow[]) => {
          if (!wish.isStored) this.#assertRoom(wish.merge, others.map(fromRow));
        };
        await table.save(toRow({ ...wish.merge, failure: null }), assertRoom);
      }
      wish.isStored = true;
    });
  }

  #logUnwritten({ merge }: Wish, error: unknown): void {
    this.#options.log.error({ err: error, adapters: namesOf(merge) }, 'a merge could not be written to the store');
  }
}

function assertTakes({ state, info }: MergesOptions['engine']): void {
  if (state === 'draining' || state === 'stopped') throw new LorikeetError('server_draining');
  // While the engine restarts, merges are accepted and wait for it, as sequences do.
  if (info === null) throw new LorikeetError('engine_unavailable');
}
