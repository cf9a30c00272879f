// Adapters: the list, and each of them.

import { h } from 'preact';
import { AdapterList } from './adapters/list.ts';
import { OneAdapter } from './adapters/one.ts';
import type { ViewProps } from './current.ts';

export function AdaptersView({ route: { parts } }: ViewProps) {
  const [, name, tab = 'versions'] = parts;
  return name === undefined ? h(AdapterList, null) : h(OneAdapter, { key: name, name, tab });
}
