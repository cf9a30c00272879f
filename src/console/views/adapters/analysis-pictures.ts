// The pictures of an analysis. One linear is shown in detail; it is chosen on the map or from two lists.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import type { Analysis, LinearAnalysis } from '../../api/types.ts';
import { type Option, Select } from '../../parts/fields.ts';
import { Card } from '../../parts/heading.ts';
import { Heat, Scale } from '../../parts/heat.ts';
import { LinearPictures } from './linear-pictures.ts';
import { ModuleTable } from './module-table.ts';

const measures = [
  { value: 'frobenius_norm', label: 'Norm of the change' },
  { value: 'effective_rank', label: 'Effective rank' },
  { value: 'stable_rank', label: 'Stable rank' },
  { value: 'amplification', label: 'Amplification' },
] as const satisfies readonly Option[];
type Measure = (typeof measures)[number]['value'];

export const layerName = (layer: number | null) => (layer === null ? 'head' : String(layer));

export function Pictures({ analysis }: { analysis: Analysis }) {
  const { linears } = analysis;
  const [measure, setMeasure] = useState<Measure>('frobenius_norm');
  const [chosen, setChosen] = useState<LinearAnalysis>(() => strongest(linears));
  const modules = analysis.modules.map(({ module }) => module);
  const layers = [...new Set(linears.map(({ layer }) => layerName(layer)))];
  const at = (module: string, layer: string) =>
    linears.find((linear) => linear.module === module && layerName(linear.layer) === layer);
  const choose = (module: string, layer: string) => setChosen(at(module, layer) ?? chosen);
  const most = Math.max(...linears.map((linear) => linear[measure] ?? 0));
  const label = measures.find(({ value }) => value === measure)!.label;
  return h(
    'div',
    { class: 'stack' },
    h(
      Card,
      {
        title: 'Where it changes the model',
        actions: h(Select, {
          label: 'Measure',
          value: measure,
          onChange: (value: string) => setMeasure(value as Measure),
          options: measures,
        }),
      },
      h(
        'div',
        { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': `${label} by module and layer` },
        h(Heat, {
          label: `${label} of each linear`,
          rows: modules,
          columns: layers,
          value: (i, j) => at(modules[i]!, layers[j]!)?.[measure] ?? null,
          ...{ most, rowTitle: '', columnTitle: 'layer' },
          chosen: { row: modules.indexOf(chosen.module), column: layers.indexOf(layerName(chosen.layer)) },
          onChoose: (i, j) => choose(modules[i]!, layers[j]!),
        }),
      ),
      h(Scale, { most }),
    ),
    h(
      Card,
      {
        title: `Layer ${layerName(chosen.layer)}, ${chosen.module}`,
        actions: h(
          'div',
          { class: 'row' },
          h(Select, {
            label: 'Layer',
            value: layerName(chosen.layer),
            onChange: (layer: string) => choose(chosen.module, layer),
            options: layers.map((layer) => ({ value: layer, label: layer })),
          }),
          h(Select, {
            label: 'Module',
            value: chosen.module,
            onChange: (module: string) => choose(module, layerName(chosen.layer)),
            options: modules.map((module) => ({ value: module, label: module })),
          }),
        ),
      },
      h(LinearPictures, { linear: chosen, linears, against: analysis.against?.id ?? null, id: analysis.id }),
    ),
    h(ModuleTable, { modules: analysis.modules, against: analysis.against?.id ?? null }),
  );
}

const strongest = (linears: readonly LinearAnalysis[]) =>
  linears.reduce((best, linear) => (linear.frobenius_norm > best.frobenius_norm ? linear : best));
