// The adapters that are merged: one like small published ones, and one like large ones.

import type { TargetModule } from '../../src/core/adapter.ts';

type Plan = { readonly r: number; readonly modules: readonly TargetModule[] };

export const adapterPlans: Readonly<Record<string, Plan>> = {
  'r=8 q,v': { r: 8, modules: ['q_proj', 'v_proj'] },
  'r=16 all': { r: 16, modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] },
};
