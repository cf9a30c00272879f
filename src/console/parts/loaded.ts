// Shows a resource: its value, an outline while it loads, or the error.

import { type ComponentChildren, h } from 'preact';
import type { Resource } from '../state/resource.ts';
import { ErrorNote, Loading } from './notes.ts';

type Props<T> = {
  readonly resource: Resource<T>;
  /** Completes the sentence "Loading ...". */
  readonly what: string;
  readonly rows?: number;
  readonly children: (value: T) => ComponentChildren;
};

export function Loaded<T>({ resource, what, rows = 6, children }: Props<T>) {
  const { value, error, reload } = resource;
  // The value stays visible while a later reading fails.
  const note = error && h(ErrorNote, { error, onRetry: reload });
  if (value === null) return note ?? h(Loading, { what, rows });
  return h('div', { class: 'stack' }, note, children(value));
}
