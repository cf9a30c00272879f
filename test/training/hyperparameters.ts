// Hyperparameters of small jobs, with every field set.

import type { Hyperparameters } from '../../src/protocol/training-messages.ts';

export const defaultHyperparameters: Hyperparameters = {
  ...{ epochs: 3, maxSteps: null, batchRows: 4, batchTokens: null },
  ...{ learningRate: 0.05, schedule: 'linear', warmupSteps: 1, weightDecay: 0.01, maxGradNorm: 1 },
  ...{ r: 2, loraAlpha: 4, targetModules: ['q_proj', 'v_proj'], rankPattern: {}, useRslora: false, loraDropout: 0 },
  ...{ seed: 7, shuffle: false, maxTokens: 64, evalSteps: 2, checkpointSteps: 2, patience: null, recompute: false },
};
