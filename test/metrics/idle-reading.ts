import type { EngineReading } from '../../src/metrics/metrics.ts';

/** Reading of an engine that has nothing to do. */
export const idleReading = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  kv: { blockTokens: 32, blocks: 256 },
  restarts: 0,
  ready: false,
  devices: [],
} as const satisfies EngineReading;
