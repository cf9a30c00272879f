// A supervisor over simulated engines on a virtual clock, and sequences that record what happens to them.

import assert from 'node:assert/strict';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import type { SequenceEnd, SequenceRequest } from '../../src/protocol/messages.ts';
import { type SupervisedEngine, superviseEngine } from '../../src/protocol/supervisor.ts';
import { defaultSupervisorLimits, type SupervisorLimits } from '../../src/protocol/supervisor-options.ts';
import { type VirtualTime, virtualTime } from '../fixtures/virtual-time.ts';
import { SimulatedEngine, testConfig } from './simulated-engine.ts';

export type Witness = {
  readonly tokens: number[];
  readonly ends: SequenceEnd[];
  starts: number;
  abort(): void;
};

export type Supervised = {
  readonly time: VirtualTime;
  readonly client: SupervisedEngine;
  /** All processes so far, the newest last. */
  readonly engines: SimulatedEngine[];
  /** Gives the newest process of an engine; the first engine by default. */
  engine(i?: number): SimulatedEngine;
  submit(maxTokens?: number, promptTokens?: number, rest?: Partial<SequenceRequest>): Witness;
};

const deviceOf = (i: number) => `cuda:${i}`;

/** @param count number of engines that are supervised together */
export function supervised(limits: Partial<SupervisorLimits> = {}, count = 1): Supervised {
  const time = virtualTime();
  const engines: SimulatedEngine[] = [];
  const listenerErrors: object[] = [];
  const client = superviseEngine({
    startProcess: (handlers) => {
      const engine = new SimulatedEngine(handlers);
      engines.push(engine);
      return engine;
    },
    configs: Array.from({ length: count }, (_, i) => ({ ...testConfig, device: deviceOf(i) })),
    limits: { ...defaultSupervisorLimits, waitingRequests: 8, waitingTokens: 100, ...limits },
    clock: time,
    timers: time,
    log: {
      info: () => {},
      warn: () => {},
      error: (fields) => {
        if ('err' in fields) listenerErrors.push(fields);
      },
    },
  });
  return {
    time,
    client,
    engines,
    engine: (i = 0) => engines.findLast(({ device }) => device === deviceOf(i))!,
    submit(maxTokens = 3, promptTokens = 4, rest = {}) {
      const witness: Witness = { tokens: [], ends: [], starts: 0, abort: () => {} };
      const abort = client.submit(
        {
          ...{ promptTokens: Array(promptTokens).fill(1), params: { ...defaultSamplingParams, maxTokens } },
          ...{ adapters: [], ...rest },
        },
        {
          onStart: () => void witness.starts++,
          onToken: ({ token }) => {
            assert.equal(witness.ends.length, 0, 'a token came after the end');
            witness.tokens.push(token);
          },
          onEnd: (end) => void witness.ends.push(end),
        },
      );
      witness.abort = abort;
      return witness;
    },
  };
}
