// The server's traffic: speed, queue, memory, adapters and tenants; merges; a training job beside.

import { h } from 'preact';
import { Figures } from '../parts/facts.ts';
import { Heading } from '../parts/heading.ts';
import { ErrorNote, Loading } from '../parts/notes.ts';
import { ByAdapter, ByTenant } from './traffic/by-name.ts';
import { figuresOf } from './traffic/figures.ts';
import { Merges } from './traffic/merges.ts';
import { useSamples } from './traffic/samples.ts';
import { TrafficCurves } from './traffic/traffic-curves.ts';
import { TrainingBeside } from './traffic/training-beside.ts';

export function TrafficView() {
  const { samples, error } = useSamples();
  const note = error && h(ErrorNote, { error });
  return h(
    'div',
    { class: 'whole' },
    h(Heading, { title: 'Traffic', about: 'All tenants, while this view is open' }),
    note,
    samples.length === 0
      ? note === null && h(Loading, { what: 'metrics' })
      : [
          h(Figures, { key: 'figures', figures: figuresOf(samples) }),
          h(TrafficCurves, { key: 'curves', samples }),
          h(ByAdapter, { key: 'adapters', samples }),
          h(ByTenant, { key: 'tenants', samples }),
          h(TrainingBeside, { key: 'training', samples }),
        ],
    h(Merges, null),
  );
}
