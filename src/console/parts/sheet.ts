// A plain table with titles. It scrolls sideways where it is wider than the screen.

import { type ComponentChildren, h } from 'preact';

export type Column = {
  readonly title: string;
  readonly isNumber?: boolean;
  /** Whether narrow screens leave the column out. */
  readonly isMinor?: boolean;
};

type Props = {
  readonly label: string;
  /** Whether it is in a card, which has a frame already. */
  readonly isInCard?: boolean;
  /** Columns; one with an empty title holds buttons. */
  readonly columns: readonly Column[];
  /** Rows; the first cell names the row. */
  readonly rows: readonly { readonly key: string; readonly cells: readonly ComponentChildren[] }[];
};

export function Sheet({ label, isInCard = false, columns, rows }: Props) {
  const classOf = ({ isNumber, isMinor }: Column) => `${isNumber ? 'number' : ''}${isMinor ? ' minor' : ''}`;
  const head = (column: Column) =>
    column.title === ''
      ? h('td', { key: 'buttons' })
      : h('th', { key: column.title, scope: 'col', class: classOf(column) }, column.title);
  const cell = (content: ComponentChildren, i: number) =>
    i === 0
      ? h('th', { key: i, scope: 'row' }, content)
      : h('td', { key: i, class: classOf(columns[i] ?? { title: '' }) }, content);
  return h(
    'div',
    { class: isInCard ? 'scroll tall' : 'scroll', tabIndex: 0, role: 'region', 'aria-label': label },
    h(
      'table',
      { class: isInCard ? '' : 'sheet' },
      h('thead', null, h('tr', null, columns.map(head))),
      h(
        'tbody',
        null,
        rows.map(({ key, cells }) => h('tr', { key }, cells.map(cell))),
      ),
    ),
  );
}
