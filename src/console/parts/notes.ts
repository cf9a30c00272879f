// Notes in place of content: an error, an empty list, an outline while something loads.

import { type ComponentChildren, h } from 'preact';
import type { ApiError } from '../api/client.ts';
import { Button } from './button.ts';
import { Icon, type IconName } from './icons.ts';

export function ErrorNote({ error, onRetry }: { error: ApiError; onRetry?: () => void }) {
  const lines = error.message.split('\n').filter(Boolean);
  return h(
    'div',
    { class: 'note error', role: 'alert' },
    h(Icon, { name: 'warning' }),
    h(
      'div',
      null,
      lines.map((line) => h('p', { key: line }, line)),
      h('p', { class: 'faint' }, h('code', null, error.code), error.param && [' at ', h('code', null, error.param)]),
    ),
    onRetry && h(Button, { isSmall: true, onClick: onRetry }, 'Try again'),
  );
}

type EmptyProps = { icon: IconName; title: string; children?: ComponentChildren };

export const Empty = ({ icon, title, children }: EmptyProps) =>
  h('div', { class: 'empty' }, h(Icon, { name: icon }), h('h2', null, title), children);

/** The outline of a table or a text while it loads. */
export const Loading = ({ rows = 6, what }: { rows?: number; what: string }) =>
  h(
    'div',
    { class: 'loading', role: 'status' },
    h('span', { class: 'unseen' }, `Loading ${what}`),
    Array.from({ length: rows }, (_, row) => h('div', { key: row, class: 'line' })),
  );

export const Warning = ({ children }: { children?: ComponentChildren }) =>
  h('div', { class: 'note warning' }, h(Icon, { name: 'warning' }), h('div', null, children));
