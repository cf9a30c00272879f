// The adapters of one request: resolves the names in its body to leases, which are held until its last sequence has
// ended. Knows the registry, and no wire format.

import type { FastifyRequest } from 'fastify';
import { type AppliedAdapter, combineAdapters } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { AdapterLease, AdapterRegistry } from '../../registry/adapter-registry.ts';
import { suggest } from '../http/suggest.ts';
import type { Services } from '../services.ts';
import { assertAllowed, isAllowed } from './allowed-adapters.ts';
import { resolveAdapter } from './resolve-adapter.ts';

/** An adapter as the caller named it. */
export type NamedAdapter = {
  readonly reference: string;
  readonly scale: number;
  /** Where the name is in the body, for errors. */
  readonly param: string;
};

export type HeldAdapter = NamedAdapter & Pick<AdapterLease, 'adapter' | 'files'>;

export type HeldAdapters = {
  readonly tenant: string;
  /** The adapters in the caller's order, each with the version that its name meant. */
  readonly adapters: readonly HeldAdapter[];
  /** What the engine applies: one entry for each digest. */
  readonly applied: readonly AppliedAdapter[];
  release(): void;
};

/**
 * Leases all adapters or none. Throws the registry's errors with the caller's parameter; never falls back to the base.
 */
export async function holdAdapters(
  services: Services,
  caller: Pick<FastifyRequest, 'tenant' | 'allowedAdapters'>,
  named: readonly NamedAdapter[],
): Promise<HeldAdapters> {
  const { registry } = services;
  const { tenant } = caller;
  if (named.length === 0) return { tenant, adapters: [], applied: [], release() {} };
  const leases: AdapterLease[] = [];
  const release = () => {
    for (const lease of leases.splice(0)) lease.release();
  };
  const adapters: HeldAdapter[] = [];
  for (const one of named) {
    try {
      assertAllowed(caller.allowedAdapters, one.reference);
      const lease = await leaseOrLoad(services, tenant, one.reference);
      leases.push(lease);
      adapters.push({ ...one, adapter: lease.adapter, files: lease.files });
    } catch (error) {
      release();
      throw blame(error, one, isMissing(error) ? await nearName(registry, caller, one.reference) : null);
    }
  }
  const held = { tenant, adapters, applied: combineAdapters(adapters.map(appliedOf)), release };
  return orRelease(held, () => {
    assertVirtual(held);
    return held;
  });
}

const appliedOf = ({ files, scale, adapter: { virtualTokens } }: HeldAdapter): AppliedAdapter => ({
  ...{ files, scale },
  ...(virtualTokens !== undefined && { virtualTokens }),
});

/**
 * Throws where more than one adapter has virtual tokens, or one has them at another scale than 1: virtual tokens cannot
 * be added or scaled, and two such adapters have no order.
 */
function assertVirtual({ adapters, applied }: HeldAdapters): void {
  const virtual = applied.filter(({ virtualTokens = 0 }) => virtualTokens > 0);
  const named = adapters.filter(({ adapter }) => adapter.virtualTokens !== undefined).at(-1);
  const refuse = (message: string) => new LorikeetError('adapter_unsupported', { message, param: named!.param });
  if (virtual.length > 1) throw refuse('Of the adapters of one request one may have virtual tokens.');
  if (virtual.length === 1 && virtual[0]!.scale !== 1) {
    throw refuse(`The adapter '${named!.reference}' has virtual tokens, which have no scale: only 1 is taken.`);
  }
}

/** Number of virtual tokens before each prompt of the request. */
export const virtualTokensOf = ({ applied }: HeldAdapters): number =>
  applied.reduce((sum, { virtualTokens = 0 }) => sum + virtualTokens, 0);

/** Runs `work`, and releases the adapters where it fails. */
export async function orRelease<T>(held: HeldAdapters, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    held.release();
    throw error;
  }
}

/** Leases the adapters for as long as `work` takes, for routes that generate nothing. */
export async function whileHeld<T>(
  services: Services,
  caller: Pick<FastifyRequest, 'tenant' | 'allowedAdapters'>,
  named: readonly NamedAdapter[],
  work: (held: HeldAdapters) => Promise<T>,
): Promise<T> {
  const held = await holdAdapters(services, caller, named);
  return await work(held).finally(held.release);
}

async function leaseOrLoad(services: Services, tenant: string, reference: string): Promise<AdapterLease> {
  const { registry } = services;
  try {
    return await registry.lease(tenant, reference);
  } catch (error) {
    const isUnknown = error instanceof LorikeetError && error.code === 'adapter_not_found';
    if (!isUnknown || !(await resolveAdapter(services, tenant, reference))) throw error;
    return registry.lease(tenant, reference);
  }
}

/** The tenant's name that is nearest to the reference; null where none is near, or the names cannot be read. */
async function nearName(
  { list }: AdapterRegistry,
  { tenant, allowedAdapters }: Pick<FastifyRequest, 'tenant' | 'allowedAdapters'>,
  reference: string,
): Promise<string | null> {
  const name = reference.split(/[@:]/, 1)[0]!;
  const known = await list(tenant, { after: null, limit: namesLookedAt }).catch(() => []);
  const meant = suggest(
    name,
    known.map((adapter) => adapter.name).filter((one) => isAllowed(allowedAdapters, one)),
  );
  return meant === name ? null : meant;
}

/** Most names to compare with: an answer to a typing error is fast, however many adapters there are. */
const namesLookedAt = 1000;

const isMissing = (error: unknown) =>
  error instanceof LorikeetError && (error.code === 'adapter_not_found' || error.code === 'alias_not_found');

/** Gives an adapter's error the caller's parameter. In OpenAI's routes a missing adapter is a missing model. */
export function blame(
  error: unknown,
  { reference, param }: Pick<NamedAdapter, 'reference' | 'param'>,
  near: string | null = null,
): unknown {
  if (!(error instanceof LorikeetError)) return error;
  const { code } = error;
  const hint = near === null ? '' : ` Did you mean '${near}'?`;
  const message = code === 'adapter_not_found' ? `${error.message}${hint}` : error.message;
  if (!isMissing(error)) return new LorikeetError(code, { message, param, cause: error });
  if (param !== 'model') return new LorikeetError('adapter_not_found', { message, param, cause: error });
  return new LorikeetError('model_not_found', {
    message: `The model '${reference}' does not exist.${hint}`,
    param,
    cause: error,
  });
}

/** Name of the parameter that named the adapter of `digest`, for an error of the engine. */
export function paramOf({ adapters }: HeldAdapters, digest: string | undefined): string | undefined {
  const named = adapters.find(({ files }) => files.digest === digest);
  return (named ?? (adapters.length === 1 ? adapters[0] : undefined))?.param;
}

export const digestHeader = 'x-adapter-digest';

/** The header that names the adapters' digests; an answer of the base alone has none. */
export const digestHeaders = ({ applied }: HeldAdapters): Record<string, string> =>
  applied.length === 0 ? {} : { [digestHeader]: applied.map(({ files }) => files.digest).join(', ') };
