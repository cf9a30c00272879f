// Draws a grid of numbers as shades, darker for larger ones.

import { h } from 'preact';
import { figure } from '../figures.ts';

type Props = {
  /** Description of the picture for screen readers. */
  readonly label: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Value of a cell; null leaves it empty. */
  readonly value: (row: number, column: number) => number | null;
  /** The value that gets the darkest shade. */
  readonly most: number;
  readonly cell?: number;
  readonly chosen?: { readonly row: number; readonly column: number } | null;
  readonly onChoose?: (row: number, column: number) => void;
  readonly rowTitle: string;
  readonly columnTitle: string;
};

const margin = { left: 74, top: 6, bottom: 30 };

export function Heat(props: Props) {
  const { label, rows, columns, value, most, cell = 18, chosen, onChoose, rowTitle, columnTitle } = props;
  const [width, height] = [columns.length * cell, rows.length * cell];
  const every = Math.ceil(24 / cell);
  const cells = rows.flatMap((row, i) =>
    columns.map((column, j) => {
      const here = value(i, j);
      const isChosen = chosen?.row === i && chosen.column === j;
      const shade = here === null ? 0 : Math.round((100 * Math.max(0, here)) / (most || 1));
      const style = {
        fill: here === null ? 'none' : `color-mix(in oklab, var(--heat-high) ${shade}%, var(--heat-low))`,
      };
      const place = { x: margin.left + j * cell, y: margin.top + i * cell, width: cell - 1, height: cell - 1 };
      return h(
        'rect',
        { key: `${row} ${column}`, ...place, style, class: isChosen ? 'chosen' : '', onClick: () => onChoose?.(i, j) },
        h('title', null, `${rowTitle} ${row}, ${columnTitle} ${column}: ${here === null ? 'none' : figure(here)}`),
      );
    }),
  );
  return h(
    'svg',
    {
      class: `heat ${onChoose ? 'choosable' : ''}`,
      role: 'img',
      'aria-label': label,
      width: margin.left + width + 4,
      height: margin.top + height + margin.bottom,
    },
    rows.map((row, i) =>
      h('text', { key: row, class: 'row', x: margin.left - 6, y: margin.top + (i + 0.5) * cell }, row),
    ),
    columns.map(
      (column, j) =>
        j % every === 0 &&
        h(
          'text',
          { key: column, class: 'column', x: margin.left + (j + 0.5) * cell, y: margin.top + height + 10 },
          column,
        ),
    ),
    h('text', { class: 'axis', x: margin.left + width / 2, y: margin.top + height + 24 }, columnTitle),
    cells,
  );
}

/** The legend of the shades. */
export const Scale = ({ most, digits }: { most: number; digits?: string }) =>
  h(
    'div',
    { class: 'scale', 'aria-hidden': 'true' },
    h('span', null, '0'),
    h('span', { class: 'ramp' }),
    h('span', null, digits ?? figure(most)),
  );
