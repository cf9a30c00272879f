// A coloured word for a state. The colour means no more than the word.

import { type ComponentChildren, h } from 'preact';
import type { Adapter } from '../api/types.ts';

export type Tone = 'neutral' | 'good' | 'warn' | 'bad' | 'info' | 'accent';

type Props = { readonly tone?: Tone; readonly title?: string; readonly children?: ComponentChildren };

export const Badge = ({ tone = 'neutral', title, children }: Props) =>
  h('span', { class: `badge ${tone}`, title }, children);

const tones: Readonly<Record<string, Tone>> = {
  ready: 'good',
  succeeded: 'good',
  merged: 'good',
  running: 'info',
  merging: 'info',
  validating_files: 'info',
  paused: 'warn',
  queued: 'neutral',
  draining: 'warn',
  deleting: 'warn',
  corrupt: 'bad',
  failed: 'bad',
  revoked: 'bad',
  active: 'good',
};

/** Shows where an adapter's weights are. */
export const Residency = ({ residency }: Pick<Adapter, 'residency'>) => {
  const { tone, word, about } = residencies[residency];
  return h(Badge, { tone, title: about }, word);
};

const residencies: Readonly<Record<Adapter['residency'], { tone: Tone; word: string; about: string }>> = {
  merged: { tone: 'good', word: 'merged', about: 'In weights of its own beside the base: as fast as the base' },
  pages: { tone: 'good', word: 'pages', about: 'In pages beside the base: the next request runs at once' },
  memory: { tone: 'info', word: 'memory', about: "In the engine's memory: the next request copies it into pages" },
  disk: { tone: 'neutral', word: 'disk', about: 'The next request reads it from the disk' },
};

/** Shows a state by the server's word for it. */
export const StateBadge = ({ state }: { state: string }) =>
  h(Badge, { tone: tones[state] ?? 'neutral' }, state.replaceAll('_', ' '));
