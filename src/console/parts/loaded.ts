// A resource on the page: its value; before there is one, an outline; where there is none, why.

import { type ComponentChildren, h } from 'preact';
import type { Resource } from '../state/resource.ts';
import { ErrorNote, Loading } from './notes.ts';

type Props<T> = {
  readonly resource: Resource<T>;
  /** Ends the sentence "Loading ...". */
  readonly what: string;
  readonly rows?: number;
  readonly children: (value: T) => ComponentChildren;
};

export function Loaded<T>({ resource, what, rows = 6, children }: Props<T>) {
  const { value, error, reload } = resource;
  // What was read stays in sight while a later reading fails.
  const note = error && h(ErrorNote, { error, onRetry: reload });
  if (value === null) return note ?? h(Loading, { what, rows });
  return h('div', { class: 'stack' }, note, children(value));
}
