// Metrics of each engine process, by its device: they show whether requests spread, and which engine is down.

import type { MetricsRegistry } from './registry.ts';

/** Values of one engine that are read at a scrape. */
export type DeviceReading = {
  /** Unique among all engines. */
  readonly device: string;
  readonly ready: boolean;
  readonly restarts: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvUsage: number;
  readonly adapters: { readonly resident: number; readonly pagesUsed: number; readonly pagesTotal: number };
};

export function defineDevices(registry: MetricsRegistry, read: () => readonly DeviceReading[]): void {
  const define = (name: string, help: string, value: (reading: DeviceReading) => number) =>
    registry.readings({
      ...{ name: `lorikeet_device_${name}`, help, label: 'device' },
      read: () => Object.fromEntries(read().map((reading) => [reading.device, value(reading)])),
    });
  define('ready', "1 while the device's engine takes sequences", ({ ready }) => (ready ? 1 : 0));
  define('engine_restarts', 'Times that its engine was started again', ({ restarts }) => restarts);
  define('requests_running', 'Sequences that hold a slot of the device', ({ running }) => running);
  define('requests_waiting', 'Sequences that wait for a slot of the device', ({ waiting }) => waiting);
  define('kv_cache_usage_ratio', 'Its room for keys and values in use, 0 to 1', ({ kvUsage }) => kvUsage);
  define('adapters_resident', "Adapters in its engine's memory", ({ adapters }) => adapters.resident);
  define('adapter_pages_used', 'Its pages that running sequences use', ({ adapters }) => adapters.pagesUsed);
  define('adapter_pages', 'Its pages of 8 ranks', ({ adapters }) => adapters.pagesTotal);
}
