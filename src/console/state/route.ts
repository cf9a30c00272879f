// The current view: the address behind `#`, so that views have links and a history.

import { store } from './store.ts';

export type Route = {
  /** Decoded parts: `#/adapters/my%2Fadapter/analysis` is ['adapters', 'my/adapter', 'analysis']. */
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
};

const read = (): Route => {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  return { parts: path.split('/').filter(Boolean).map(decode), query: new URLSearchParams(query) };
};

/** Decodes a part; an address that was written by hand may have a broken escape. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = store<Route>(read());
addEventListener('hashchange', () => route.set(read()));

export type Query = Readonly<Record<string, string | readonly string[]>>;

export function href(parts: readonly string[], query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, values] of Object.entries(query)) for (const value of [values].flat()) search.append(name, value);
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

export const go = (parts: readonly string[], query?: Query): void => {
  location.hash = href(parts, query);
};

/** Changes the address without a new entry in the history. */
export function replaceRoute(parts: readonly string[], query?: Query): void {
  history.replaceState(null, '', href(parts, query));
  route.set(read());
}
