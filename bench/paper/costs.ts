// Computes what an adapter takes beside full fine-tuning of the same base. Full fine-tuning is computed and not run.

import type { BaseModel } from '../../src/core/base-model.ts';
import { elementCount } from '../../src/formats/tensor-bytes.ts';
import { matrixPlans, nameOf, rankPlan, ranks } from './plans.ts';
import type { Run } from './train-once.ts';

export type Cost = {
  readonly name: string;
  readonly parameters: number;
  readonly checkpointBytes: number;
  /** Bytes in 32 bits of the parameters, their gradients and AdamW's two moments. */
  readonly stateBytes: number;
  /** Peak memory of the whole trainer, base and activations included; null where nothing ran. */
  readonly peakRssBytes: number | null;
};

const floatBytes = 4;
const copies = 4;

const plans = [...ranks.map((r) => rankPlan(r)), matrixPlans['Wq,Wk,Wv,Wo']];

/** Lists full fine-tuning first, then the trained adapters, one for each size. */
export function costsOf(runs: ReadonlyMap<string, Run>, { tensors }: BaseModel): Cost[] {
  const all = [...tensors.values()].reduce((sum, { shape }) => sum + elementCount(shape)!, 0);
  const trained = plans.map((plan) => runs.get(nameOf(plan))).filter((run) => run !== undefined);
  return [
    {
      ...{ name: 'full fine-tuning', parameters: all, checkpointBytes: all * floatBytes },
      ...{ stateBytes: all * floatBytes * copies, peakRssBytes: null },
    },
    ...trained.map(({ name, parameters, adapterBytes, peakRssBytes }) => ({
      ...{ name, parameters, checkpointBytes: adapterBytes },
      ...{ stateBytes: parameters * floatBytes * copies, peakRssBytes },
    })),
  ];
}
