// How an adapter is applied: its scale, and whether its merge may be used.

import { h } from 'preact';
import { Check, Slider } from '../../parts/fields.ts';
import type { Target } from './targets.ts';

export const TargetSettings = ({ target, onChange }: { target: Target; onChange: (target: Target) => void }) =>
  h(
    'div',
    { class: 'target-settings' },
    h(Slider, {
      label: 'Scale',
      ...{ min: 0, max: 2, step: 0.05, value: target.scale, shown: target.scale.toFixed(2) },
      onChange: (scale: number) => onChange({ ...target, scale }),
    }),
    h(Check, {
      label: 'Merged where it is',
      value: target.mayBeMerged,
      onChange: (mayBeMerged: boolean) => onChange({ ...target, mayBeMerged }),
    }),
  );
