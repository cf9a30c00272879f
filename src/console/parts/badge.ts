// A word about something's state, coloured; the colour never says more than the word.

import { type ComponentChildren, h } from 'preact';

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

/** A state in the server's own word. */
export const StateBadge = ({ state }: { state: string }) =>
  h(Badge, { tone: tones[state] ?? 'neutral' }, state.replaceAll('_', ' '));
