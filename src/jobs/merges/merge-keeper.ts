// Keeps the store, the engine and the files' leases in agreement with what is wanted. What the store has is what is
// wanted or has failed; what drains is nobody's wish any more and is in memory only, as in the engine.

import { combineAdapters, mergeKey } from '../../core/adapter.ts';
import { type ErrorCode, LorikeetError } from '../../core/errors.ts';
import { serially } from '../../registry/serially.ts';
import { type EngineMerges, engineMerges, type MergePhase } from './engine-merges.ts';
import { type HeldFiles, holdFiles } from './hold-files.ts';
import type { Merge, MergedAdapter, MergeFailure } from './merge.ts';
import { fromRow, type StoredMerge, toRow } from './merge-row.ts';
import type { MergeListener, MergeOrder, Merges, MergesOptions, UnmergedBy } from './merges.ts';

/** One tenant's wish for one merge. */
type Wish = {
  merge: StoredMerge;
  /** null until they are held, and from its end on. */
  files: HeldFiles | null;
  /** Settles when it is stored and the engine was asked. */
  opened: Promise<void>;
  isLeaving: boolean;
};

/** Asks for all stored merges again, one after another, in the background: their files are read and checked first. */
export async function openMerges(options: MergesOptions): Promise<Merges> {
  const keeper = new MergeKeeper(options);
  await keeper.restore();
  return keeper;
}

class MergeKeeper implements Merges {
  readonly #options: MergesOptions;
  readonly #engine: EngineMerges;
  /** By tenant and key, oldest first. */
  readonly #wishes = new Map<string, Wish>();
  readonly #listeners: MergeListener[] = [];
  readonly #waiters = new Set<() => void>();
  /** Writes reach the store in the order in which memory changed. */
  readonly #exclusive = serially();

  constructor(options: MergesOptions) {
    this.#options = options;
    const now = () => options.clock.monotonic();
    this.#engine = engineMerges(options.engine, now, (key, phase) => this.#onPhase(key, phase));
  }

  get budgetBytes(): number {
    return this.#options.budgetBytes;
  }

  get usedBytes(): number {
    return this.#engine.bytes();
  }

  async want(order: MergeOrder): Promise<Merge> {
    assertTakes(this.#options.engine);
    const adapters = adaptersOf(order);
    const key = mergeKey(adapters.map(({ digest, scale }) => ({ files: { digest }, scale })));
    this.#assertBits(key, order);
    const there = this.#wishes.get(idOf(order.tenant, key));
    const wish = there === undefined || there.isLeaving ? this.#make(order, key, adapters) : this.#again(there, order);
    await wish.opened;
    return this.#view(wish);
  }

  async unmerge(tenant: string, key: string, by: UnmergedBy): Promise<Merge> {
    const wish = this.#wishes.get(idOf(tenant, key));
    if (wish === undefined) throw new LorikeetError('merge_not_found');
    await this.#leave(wish, by);
    return this.find(tenant, key) ?? { ...this.#view(wish), state: 'unmerged' };
  }

  find(tenant: string, key: string): Merge | null {
    const wish = this.#wishes.get(idOf(tenant, key));
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
    if (isOver() || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        this.#waiters.delete(look);
        signal.removeEventListener('abort', end);
        cancel();
        resolve();
      };
      const look = () => {
        if (isOver()) end();
      };
      const cancel = this.#options.timers.after(ms, end);
      this.#waiters.add(look);
      signal.addEventListener('abort', end);
    });
  }

  async close(): Promise<void> {
    await this.#exclusive(async () => {});
  }

  async restore(): Promise<void> {
    const { table, keepsAutomatic, log } = this.#options;
    let last: Promise<unknown> = Promise.resolve();
    for (const row of await table.all()) {
      const merge = fromRow(row);
      if (merge.automatic && !keepsAutomatic) {
        await table.delete(merge.tenant, merge.key);
        log.info({ adapters: namesOf(merge) }, 'an automatic merge of the last run is not wanted any more');
        continue;
      }
      const wish = newWish(merge);
      this.#wishes.set(idOf(merge.tenant, merge.key), wish);
      if (merge.failure !== null) continue;
      wish.opened = last.then(() => this.#open(wish)).catch((error) => this.#notRestored(wish, error));
      last = wish.opened;
    }
  }

  // --- a wish from its beginning to its end ---

  #make(order: MergeOrder, key: string, adapters: readonly MergedAdapter[]): Wish {
    const { tenant, bits: bitsAsked, createdBy, automatic } = order;
    const { limits, clock } = this.#options;
    if (this.list(tenant).length >= limits.merges) {
      const message = `There are ${limits.merges} merges, failed ones included. Unmerge some first.`;
      throw new LorikeetError('merge_budget_exceeded', { message });
    }
    const createdAt = clock.now();
    const wish = newWish({
      ...{ tenant, key, adapters, bitsAsked, automatic, createdAt, createdBy },
      ...{ figures: null, failure: null },
    });
    const id = idOf(tenant, key);
    this.#wishes.delete(id);
    this.#wishes.set(id, wish);
    this.#begin(wish, () => this.#forget(wish));
    return wish;
  }

  #again(wish: Wish, { bits, automatic, createdBy }: MergeOrder): Wish {
    const { failure } = wish.merge;
    if (failure !== null) {
      wish.merge = { ...wish.merge, failure: null, bitsAsked: bits ?? wish.merge.bitsAsked };
      this.#begin(wish, () => {
        wish.merge = { ...wish.merge, failure };
      });
    }
    if (wish.merge.automatic && !automatic) {
      wish.merge = { ...wish.merge, automatic, createdBy };
      wish.opened = wish.opened.then(() => this.#save(wish));
      wish.opened.catch(() => {});
    }
    return wish;
  }

  /** @param undo when it cannot be opened */
  #begin(wish: Wish, undo: () => void): void {
    wish.opened = this.#open(wish).catch((error) => {
      undo();
      throw error;
    });
    // Each caller awaits it; a rejection of one whose callers have left must not end the server.
    wish.opened.catch(() => {});
  }

  async #open(wish: Wish): Promise<void> {
    const { registry, probes } = this.#options;
    const { key } = wish.merge;
    const onDeleting = () => void this.#leave(wish, 'deletion').catch((error) => this.#logUnwritten(wish, error));
    const files = await holdFiles(registry, wish.merge, onDeleting);
    wish.files = files;
    try {
      await this.#save(wish);
      // Meanwhile it may have been taken back, or have failed for another tenant with the same weights.
      const isWanted = !wish.isLeaving && wish.merge.failure === null;
      const { adapters } = files;
      if (isWanted) this.#engine.want({ key, adapters, bits: wish.merge.bitsAsked, probes: probes() });
    } catch (error) {
      files.release();
      throw error;
    }
    if (!wish.isLeaving) return;
    files.release();
    throw new LorikeetError('merge_not_found', { message: 'The merge was taken back before it began.' });
  }

  async #notRestored(wish: Wish, cause: unknown): Promise<void> {
    if (wish.isLeaving) return;
    const { log, table } = this.#options;
    const { tenant, key } = wish.merge;
    const failure = failureOf(cause);
    log.error({ err: cause, tenant, adapters: namesOf(wish.merge) }, 'a merge of the last run could not be restored');
    // What is stored stays wanted: the next start may have the right files, or the right base model, again.
    wish.merge = { ...wish.merge, failure };
    if (failure.code === 'adapter_not_found' || failure.code === 'adapter_deleting') {
      this.#forget(wish);
      await this.#exclusive(() => table.delete(tenant, key)).catch((error) => this.#logUnwritten(wish, error));
    }
    this.#changed();
  }

  /** In memory at once, so that a deletion waits for nothing; resolves when the store knows. */
  #leave(wish: Wish, by: UnmergedBy): Promise<void> {
    if (wish.isLeaving) return Promise.resolve();
    const { tenant, key } = wish.merge;
    const merge = this.#view(wish);
    wish.isLeaving = true;
    wish.files?.release();
    const isShared = this.#wishesFor(key).some(({ merge: { failure } }) => failure === null);
    if (!isShared) this.#engine.drop(key);
    if (isShared || this.#engine.phase(key)?.state !== 'draining') this.#forget(wish);
    for (const listener of this.#listeners) listener.unmerging?.(merge, by);
    this.#options.log.info({ tenant, by, adapters: namesOf(merge), state: merge.state }, 'unmerging');
    this.#changed();
    return this.#exclusive(() => this.#options.table.delete(tenant, key));
  }

  #forget(wish: Wish): void {
    const id = idOf(wish.merge.tenant, wish.merge.key);
    if (this.#wishes.get(id) === wish) this.#wishes.delete(id);
  }

  // --- what the engine says ---

  /** Never called while it drains: null or another phase is the end of that. */
  #onPhase(key: string, phase: MergePhase | null): void {
    for (const wish of [...this.#wishes.values()]) {
      if (wish.merge.key === key && wish.isLeaving) this.#forget(wish);
    }
    const [first, ...others] = this.#wishesFor(key);
    for (const wish of first === undefined ? [] : [first, ...others]) {
      if (phase?.state === 'merged') this.#onMerged(wish, phase.figures, wish === first);
      if (phase?.state === 'failed') this.#onFailed(wish, phase.failure);
    }
    this.#changed();
  }

  #onMerged(wish: Wish, figures: NonNullable<StoredMerge['figures']>, isFirst: boolean): void {
    wish.merge = { ...wish.merge, figures };
    this.#save(wish).catch((error) => this.#logUnwritten(wish, error));
    if (!isFirst) return;
    const { log } = this.#options;
    log.info({ adapters: namesOf(wish.merge), ...figures, automatic: wish.merge.automatic }, 'merged');
    for (const listener of this.#listeners) listener.merged?.(this.#view(wish));
  }

  #onFailed(wish: Wish, failure: MergeFailure): void {
    const { log, registry, table } = this.#options;
    const { tenant, key, adapters, automatic } = wish.merge;
    wish.merge = { ...wish.merge, failure };
    wish.files?.release();
    log.error({ tenant, adapters: namesOf(wish.merge), automatic, ...failure }, 'a merge failed');
    if (failure.code === 'adapter_corrupt' && adapters.length === 1) {
      registry
        .markCorrupt(adapters[0]!.digest)
        .catch((error) => log.error({ err: error }, 'an adapter was not marked'));
    }
    for (const listener of this.#listeners) listener.failed?.(this.#view(wish));
    // Nobody has asked for an automatic one, so nobody has to be told.
    if (automatic) this.#forget(wish);
    if (this.#wishesFor(key).length === 0) this.#engine.drop(key);
    const written = automatic ? this.#exclusive(() => table.delete(tenant, key)) : this.#save(wish);
    written.catch((error) => this.#logUnwritten(wish, error));
  }

  // --- what is true now ---

  #view(wish: Wish): Merge {
    const { merge } = wish;
    if (wish.isLeaving) return { ...merge, state: 'draining', progress: 1, since: null };
    if (merge.failure !== null) return { ...merge, state: 'failed', progress: 0, since: null };
    const phase = this.#engine.phase(merge.key);
    if (phase?.state !== 'merged') {
      return { ...merge, state: 'merging', progress: phase?.state === 'merging' ? phase.progress : 0, since: null };
    }
    const { figures, since } = phase;
    return { ...merge, figures, state: 'merged', progress: 1, since };
  }

  /** Whoever wants these weights. */
  #wishesFor(key: string): Wish[] {
    return [...this.#wishes.values()].filter(({ merge, isLeaving }) => merge.key === key && !isLeaving);
  }

  /** One engine has one merge of the same weights, whoever asked for it first. */
  #assertBits(key: string, { bits }: MergeOrder): void {
    if (bits === null) return;
    for (const wish of this.#wishesFor(key)) {
      const { state, figures, bitsAsked } = this.#view(wish);
      const has = state === 'merged' ? (figures?.bits ?? null) : bitsAsked;
      if (state === 'failed' || has === bits) continue;
      const message = `It is merged with ${has === null ? 'its own' : has} bits. Unmerge it first.`;
      throw new LorikeetError('invalid_parameter', { message, param: 'bits' });
    }
  }

  #save(wish: Wish): Promise<void> {
    return this.#exclusive(async () => {
      if (!wish.isLeaving) await this.#options.table.save(toRow(wish.merge));
    });
  }

  #logUnwritten({ merge }: Wish, error: unknown): void {
    this.#options.log.error({ err: error, adapters: namesOf(merge) }, 'a merge could not be written to the store');
  }

  #changed(): void {
    for (const look of [...this.#waiters]) look();
  }
}

const idOf = (tenant: string, key: string) => JSON.stringify([tenant, key]);

const namesOf = ({ adapters }: Pick<StoredMerge, 'adapters'>) =>
  adapters.map(({ name, version }) => `${name}@${version}`);

const newWish = (merge: StoredMerge): Wish => ({ merge, files: null, opened: Promise.resolve(), isLeaving: false });

function adaptersOf({ adapters }: MergeOrder): MergedAdapter[] {
  const applied = adapters.map(({ adapter, scale }) => ({ files: { digest: adapter.digest }, adapter, scale }));
  return combineAdapters(applied).map(({ adapter: { name, version, digest }, scale }) => {
    return { name, version, digest, scale };
  });
}

function assertTakes({ state, info }: MergesOptions['engine']): void {
  if (state === 'draining' || state === 'stopped') throw new LorikeetError('server_draining');
  // While an engine restarts it is asked for later, as sequences wait for it.
  if (info === null) throw new LorikeetError('engine_unavailable');
}

function failureOf(cause: unknown): MergeFailure {
  const code: ErrorCode = cause instanceof LorikeetError ? cause.code : 'internal_error';
  return { code, message: cause instanceof LorikeetError ? cause.message : 'The merge could not be restored.' };
}
