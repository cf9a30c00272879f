// The messages of a job's events.

import { h } from 'preact';
import type { JobEvent } from '../../api/types.ts';
import { Badge } from '../../parts/badge.ts';
import { Card } from '../../parts/heading.ts';
import { moment } from '../../time.ts';

const tones = { info: 'neutral', warn: 'warn', error: 'bad' } as const;

export function Sentences({ sentences }: { sentences: readonly JobEvent[] }) {
  if (sentences.length === 0) return null;
  return h(
    Card,
    { title: 'Events' },
    h(
      'ol',
      { class: 'sentences' },
      sentences
        .toReversed()
        .map(({ id, created_at, level, message }) =>
          h(
            'li',
            { key: id },
            h('time', { class: 'faint' }, moment(created_at)),
            level !== 'info' && h(Badge, { tone: tones[level] }, level),
            h('span', null, message),
          ),
        ),
    ),
  );
}
