// How a version was trained: its hyperparameters and its loss.

import { h } from 'preact';
import { ask, part } from '../../api/client.ts';
import type { Adapter, AdapterWithProvenance, Provenance } from '../../api/types.ts';
import { count, figure } from '../../figures.ts';
import { Curves } from '../../parts/curves.ts';
import { Facts } from '../../parts/facts.ts';
import { Loaded } from '../../parts/loaded.ts';
import { useResource } from '../../state/resource.ts';
import { href } from '../../state/route.ts';

export function ProvenanceOf({ version, isOpen }: { version: Adapter; isOpen: boolean }) {
  const path = `/v1/adapters/${part(version.name)}/versions/${version.version}`;
  const whole = useResource<AdapterWithProvenance>(isOpen ? path : null, (signal) => ask(path, { signal }));
  if (!isOpen) return null;
  return h(Loaded<AdapterWithProvenance>, {
    resource: whole,
    what: 'how it was trained',
    rows: 3,
    children: ({ provenance }) => (provenance === null ? null : h(Trained, { provenance })),
  });
}

function Trained({ provenance }: { provenance: Provenance }) {
  const { job, steps, trained_tokens, valid_loss, loss_curve, hyperparameters, initial } = provenance;
  const chosen = ['learning_rate', 'alpha', 'batch_size', 'batch_tokens', 'schedule', 'seed'];
  const known = chosen.filter((name) => typeof hyperparameters[name] === 'number' || hyperparameters[name]);
  return h(
    'div',
    { class: 'trained' },
    h(Facts, {
      facts: [
        ['Job', h('a', { href: href(['training', job]) }, h('code', null, job))],
        ['Steps', count(steps)],
        ['Tokens', count(trained_tokens)],
        ['Best validation loss', valid_loss === null ? 'none' : figure(valid_loss)],
        ['Went on from', initial === null ? 'nothing' : h('code', null, initial.slice(7, 15))],
        ...known.map((name) => [name.replaceAll('_', ' '), String(hyperparameters[name])] as const),
      ],
    }),
    h(Curves, {
      label: 'Loss',
      height: 170,
      x: loss_curve.map(({ step }) => step),
      lines: [
        { name: 'training', color: 'series-1', values: loss_curve.map(({ train_loss }) => train_loss) },
        { name: 'validation', color: 'series-2', values: loss_curve.map((point) => point.valid_loss ?? null) },
      ],
    }),
  );
}
