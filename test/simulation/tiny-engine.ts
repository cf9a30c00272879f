// An engine in a process of its own, supervised, over a tiny model; closed when the test is over.

import type { TestContext } from 'node:test';
import { environmentForChildren } from '../../src/config.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { engineProcessStarter } from '../../src/protocol/engine-process.ts';
import type { EngineConfig } from '../../src/protocol/messages.ts';
import { type SupervisedEngine, superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';

type Asked = Pick<EngineConfig, 'decodeActivations' | 'maxSequences' | 'adapterBytes' | 'adapterPages'> &
  Partial<EngineConfig>;

export function startTinyEngine(t: TestContext, model: ModelFiles, asked: Asked): SupervisedEngine {
  const engine = superviseEngine({
    startProcess: engineProcessStarter(new URL('../../src/engine/main.ts', import.meta.url), environmentForChildren()),
    configs: [
      {
        ...{ model, weightBits: 32, device: 'cpu', ortLibrary: null, threads: 1 },
        ...{ maxContext: 96, prefillChunk: 16, cacheDir: temporaryFolder() },
        ...asked,
      },
    ],
    limits: { ...defaultSupervisorLimits, waitingRequests: 64, waitingTokens: 100_000 },
    clock: systemClock,
    timers: systemTimers,
    log: { info: () => {}, warn: () => {}, error: () => {} },
  });
  t.after(() => engine.close(0));
  return engine;
}
