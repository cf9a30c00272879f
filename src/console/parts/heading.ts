// The head of a view and its tabs.

import { type ComponentChildren, h } from 'preact';
import { useEffect } from 'preact/hooks';

type Props = {
  readonly title: string;
  /** The view that this one is part of. */
  readonly above?: { readonly title: string; readonly href: string };
  readonly about?: ComponentChildren;
  readonly children?: ComponentChildren;
};

export function Heading({ title, above, about, children }: Props) {
  useEffect(() => {
    document.title = `${title} - Lorikeet`;
  }, [title]);
  return h(
    'header',
    { class: 'heading' },
    h(
      'div',
      null,
      above && h('nav', { 'aria-label': 'Above', class: 'above' }, h('a', { href: above.href }, above.title)),
      h('h1', null, title),
      about && h('div', { class: 'about' }, about),
    ),
    h('div', { class: 'actions' }, children),
  );
}

export type Tab = { readonly title: string; readonly href: string; readonly isCurrent: boolean };

export const Tabs = ({ tabs, label }: { tabs: readonly Tab[]; label: string }) =>
  h(
    'nav',
    { class: 'tabs', 'aria-label': label },
    tabs.map(({ title, href, isCurrent }) =>
      h('a', { key: title, href, 'aria-current': isCurrent ? 'page' : undefined }, title),
    ),
  );

type CardProps = {
  readonly title: string;
  readonly actions?: ComponentChildren;
  readonly children?: ComponentChildren;
};

export const Card = ({ title, actions, children }: CardProps) =>
  h('section', { class: 'card' }, h('header', null, h('h2', null, title), actions), children);
