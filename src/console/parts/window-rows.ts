// Of a long list only the rows near the screen are in the page; the room of the others is kept.

import { type ComponentChildren, h } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

/** Beyond the screen at each end, so that scrolling shows no gap. */
const spare = 12;

type Props<T> = {
  readonly rows: readonly T[];
  readonly rowPixels: number;
  readonly columns: number;
  /** @param index of all rows, from 0 */
  readonly row: (value: T, index: number) => ComponentChildren;
};

export function WindowRows<T>({ rows, rowPixels, columns, row }: Props<T>) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [first, setFirst] = useState(0);
  const shown = Math.ceil(innerHeight / rowPixels) + 2 * spare;
  useEffect(() => {
    const place = () => {
      const above = -(body.current?.getBoundingClientRect().top ?? 0);
      // In steps of some rows: a pixel's scroll draws nothing anew.
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
  // A row that was made before is the same object, at which drawing stops.
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
