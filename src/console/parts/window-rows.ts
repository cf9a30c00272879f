// Rows of a long list, of which only those near the screen are in the page; empty rows keep the room of the others.

import { type ComponentChildren, h } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

/** Rows beyond each edge of the screen, so that scrolling shows no gap. */
const spare = 12;

type Props<T> = {
  readonly rows: readonly T[];
  readonly rowPixels: number;
  readonly columns: number;
  /**
   * Draws one row.
   * @param index index of the row among all, from 0
   */
  readonly row: (value: T, index: number) => ComponentChildren;
};

export function WindowRows<T>({ rows, rowPixels, columns, row }: Props<T>) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [first, setFirst] = useState(0);
  const shown = Math.ceil(innerHeight / rowPixels) + 2 * spare;
  useEffect(() => {
    const place = () => {
      const above = -(body.current?.getBoundingClientRect().top ?? 0);
      // Rounded to steps of four rows, so that scrolling a few pixels draws nothing.
      setFirst(Math.max(0, Math.floor(above / rowPixels / 4) * 4 - spare));
    };
    place();
    addEventListener('scroll', place, { passive: true });
    addEventListener('resize', place);
    return () => {
      removeEventListener('scroll', place);
      removeEventListener('resize', place);
    };
  }, [rowPixels]);
  // A row that was drawn before is the same object, so Preact skips it.
  const made = useMemo(() => new Map<number, ComponentChildren>(), [rows, row]);
  const rowAt = (index: number) => {
    if (!made.has(index)) made.set(index, row(rows[index]!, index));
    return made.get(index);
  };
  const start = Math.min(first, Math.max(0, rows.length - shown));
  const end = Math.min(rows.length, start + shown);
  const gap = (count: number, key: string) =>
    count > 0 &&
    h(
      'tr',
      { key, class: 'gap', 'aria-hidden': 'true' },
      h('td', { colSpan: columns, style: { height: `${count * rowPixels}px` } }),
    );
  return h(
    'tbody',
    { ref: body },
    gap(start, 'above'),
    Array.from({ length: end - start }, (_, i) => rowAt(start + i)),
    gap(rows.length - end, 'below'),
  );
}
