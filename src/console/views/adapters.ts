// The view of adapters: the list, or one of them.

import { h } from 'preact';
import { lazy } from '../parts/lazy.ts';
import { AdapterList } from './adapters/list.ts';
import type { ViewProps } from './view.ts';

const OneAdapter = lazy('the adapter', async () => (await import('./adapters/one.ts')).OneAdapter);

export function AdaptersView({ route: { parts } }: ViewProps) {
  const [, name, tab = 'versions'] = parts;
  return name === undefined ? h(AdapterList, null) : h(OneAdapter, { key: name, name, tab });
}
