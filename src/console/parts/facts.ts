// Lists of names with values, and figures in large print.

import { type ComponentChildren, h } from 'preact';
import { ago, moment } from '../time.ts';

export const Facts = ({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) =>
  h(
    'dl',
    { class: 'facts' },
    facts.map(([name, value]) => h('div', { key: name }, h('dt', null, name), h('dd', null, value))),
  );

type FigureProps = { readonly name: string; readonly value: string; readonly about?: string };

export const Figures = ({ figures }: { figures: readonly FigureProps[] }) =>
  h(
    'dl',
    { class: 'figures' },
    figures.map(({ name, value, about }) =>
      h('div', { key: name }, h('dt', null, name), h('dd', null, value), about && h('dd', { class: 'faint' }, about)),
    ),
  );

/** @param seconds since the epoch */
export const Moment = ({ seconds }: { seconds: number }) =>
  h('time', { dateTime: new Date(seconds * 1000).toISOString(), title: moment(seconds) }, ago(seconds));

/** @param share from 0 to 1; null: unknown */
export const Progress = ({ share, label }: { share: number | null; label: string }) =>
  h('progress', share === null ? { 'aria-label': label } : { 'aria-label': label, value: share, max: 1 });
