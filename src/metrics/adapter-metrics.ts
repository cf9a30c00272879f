// Metrics of adapters: loads, pages, memory, requests by adapter, and the names that gateways route by. Names belong to
// tenants: a reader sees those of one tenant, or as an operator those of all.

import { limits } from '../core/limits.ts';
import { activeAdapters, type Place, type TenantNames, type Viewer } from './active-adapters.ts';
import { boundedNames } from './bounded-names.ts';
import type { MetricsRegistry } from './registry.ts';

/** Values that are read at a scrape. */
export type AdapterReading = {
  readonly resident: number;
  readonly residentBytes: number;
  readonly pagesUsed: number;
  readonly pagesTotal: number;
  readonly evictions: number;
  /** Adapters that can run at once. */
  readonly adaptersMax: number;
  readonly nowSeconds: number;
};

export type AdapterMetrics = {
  readAdapters(read: () => AdapterReading): void;
  adapterLoaded(load: { readonly tier: 'disk' | 'memory'; readonly ms: number }): void;
  adapterBytesCopied(bytes: number): void;
  /** Counts a request for adapters. @param now monotonic clock, milliseconds */
  adaptersAsked(asked: TenantNames, now: number): void;
  /**
   * Counts a request's tokens for its adapters, or for the base without any. @param now monotonic clock, milliseconds
   */
  used(asked: TenantNames, used: TokensUsed, now: number): void;
  /** Counts one sequence by the references that its caller wrote, which gateways compare. */
  adaptersQueued(asked: TenantNames): Place;
};

export type TokensUsed = { readonly promptTokens: number; readonly completionTokens: number };

const idleMs = 3_600_000;
const loadSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** @param viewer gives the reader for whom the metrics are being written */
export function adapterMetrics(registry: MetricsRegistry, viewer: () => Viewer): AdapterMetrics {
  const active = activeAdapters();
  const loads = registry.histogram({
    name: 'lorikeet_adapter_load_seconds',
    help: 'Making an adapter ready, by where it came from',
    buckets: loadSeconds,
    labels: ['tier'],
  });
  const copied = registry.counter({
    name: 'lorikeet_adapter_copied_bytes_total',
    help: 'Bytes of adapters copied into pages; flat in steady state',
    labels: [],
  });
  const asked = registry.counter({
    name: 'lorikeet_adapter_requests_total',
    help: 'Requests by tenant and adapter; beyond a number of names, other',
    labels: ['tenant', 'adapter'],
  });
  const use = usedCounters(registry);
  const labelOf = boundedNames({
    namesMax: limits.metricsAdapters,
    idleMs,
    onDrop(key) {
      for (const counter of [asked, ...Object.values(use)]) counter.drop(labelsOf(key));
    },
  });
  return {
    readAdapters(read) {
      defineReadings(registry, read);
      registry.info({
        name: 'lorikeet_lora_requests_info',
        help: 'Adapters that run or are in memory, and that wait; the value is seconds since the epoch',
        labels: ['max_lora', 'running_lora_adapters', 'waiting_lora_adapters'],
        read() {
          const { adaptersMax, nowSeconds, resident } = read();
          const running = active.running(viewer(), resident);
          const names = { running_lora_adapters: running, waiting_lora_adapters: active.waiting(viewer()) };
          return { labels: { max_lora: String(adaptersMax), ...names }, value: nowSeconds };
        },
      });
    },
    adapterLoaded: ({ tier, ms }) => loads(ms / 1000, { tier }),
    adapterBytesCopied: (bytes) => copied.add({}, bytes),
    adaptersAsked({ tenant, names }, now) {
      for (const name of names) asked.add(labelsOf(labelOf(`${tenant}\n${name}`, now)));
    },
    used({ tenant, names }, { promptTokens, completionTokens }, now) {
      // Several adapters of one request share a series, so that its tokens are counted once.
      const labels = labelsOf(labelOf(`${tenant}\n${names.join('+')}`, now));
      use.requests.add(labels);
      use.prompt.add(labels, promptTokens);
      use.generated.add(labels, completionTokens);
    },
    adaptersQueued: active.queued,
  };
}

/** Counters of answered requests, which agree with the usage of src/tenants/usage.ts. */
function usedCounters(registry: MetricsRegistry) {
  const counter = (name: string, what: string) =>
    registry.counter({
      name: `lorikeet_tenant_${name}_total`,
      help: `${what}, by tenant and adapters; empty: the base`,
      labels: ['tenant', 'adapter'],
    });
  return {
    requests: counter('requests', 'Requests that were answered'),
    prompt: counter('prompt_tokens', 'Prompt tokens of answered requests'),
    generated: counter('generation_tokens', 'Tokens generated for answered requests'),
  };
}

/** Labels of a series. The shared series `other` names no tenant. */
function labelsOf(key: string): { tenant: string; adapter: string } {
  const [tenant, adapter] = key.split('\n');
  return adapter === undefined ? { tenant: '', adapter: key } : { tenant: tenant!, adapter };
}

function defineReadings(registry: MetricsRegistry, read: () => AdapterReading): void {
  const define = (type: 'gauge' | 'counter', name: string, help: string, value: (reading: AdapterReading) => number) =>
    registry.reading({ name: `lorikeet_${name}`, help, type, read: () => value(read()) });
  define('gauge', 'adapters_resident', 'Adapters in memory', ({ resident }) => resident);
  define('gauge', 'adapters_resident_bytes', 'Bytes of adapters in memory', ({ residentBytes }) => residentBytes);
  define('gauge', 'adapter_pages', 'Pages of 8 ranks that there are', ({ pagesTotal }) => pagesTotal);
  define('gauge', 'adapter_pages_used', 'Pages that running sequences use', ({ pagesUsed }) => pagesUsed);
  define('counter', 'adapter_evictions_total', 'Adapters dropped from memory', ({ evictions }) => evictions);
}
