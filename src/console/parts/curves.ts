// Draws curves over steps or time by uPlot, which is loaded when the first curve is shown.

import { h } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { figure } from '../figures.ts';
import { useStore } from '../state/store.ts';
import { theme } from '../state/theme.ts';
import { type CurvesProps, type Line, plotOptions } from './plot-options.ts';

const isDarkQuery = matchMedia('(prefers-color-scheme: dark)');

function useSystemDark(): boolean {
  const [isDark, setDark] = useState(isDarkQuery.matches);
  useEffect(() => {
    const read = () => setDark(isDarkQuery.matches);
    isDarkQuery.addEventListener('change', read);
    return () => isDarkQuery.removeEventListener('change', read);
  }, []);
  return isDark;
}

export function Curves(props: CurvesProps) {
  const { label, x, lines, height = 220, shown = figure } = props;
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shade = `${useStore(theme)} ${useSystemDark()}`;
  const shape = `${shade} ${height} ${lines.map(({ name, color, isDashed }) => `${name}/${color}/${isDashed}`).join()}`;
  const data = [[...x], ...lines.map(({ values }) => [...values])] as uPlot.AlignedData;
  const latest = useRef({ props, data });
  latest.current = { props, data };

  // Other lines or colours need a new plot; more points do not.
  useEffect(() => {
    let isGone = false;
    const resized = new ResizeObserver(([entry]) => {
      plot.current?.setSize({ width: Math.max(1, entry!.contentRect.width), height });
    });
    void import('uplot').then(({ default: Plot }) => {
      if (isGone || box.current === null) return;
      const { props: now, data: points } = latest.current;
      plot.current = new Plot(plotOptions(now, { width: box.current.clientWidth, height }, shape), points, box.current);
      resized.observe(box.current);
    });
    return () => {
      isGone = true;
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, height]);
  useEffect(() => plot.current?.setData(data));

  const words = lines.map(({ name, values }) => lastOf(name, values, shown)).join(', ');
  return h(
    'figure',
    { class: 'curves' },
    h('figcaption', null, h('strong', null, label), h(Legend, { lines, shown })),
    h('div', { class: 'plot', ref: box, role: 'img', 'aria-label': `${label}: ${words}` }),
  );
}

const Legend = ({ lines, shown }: { lines: readonly Line[]; shown: (value: number) => string }) =>
  h(
    'ul',
    { class: 'legend' },
    lines.map(({ name, color, values, isDashed }) =>
      h(
        'li',
        { key: name },
        h('span', { class: `swatch ${isDashed ? 'dashed' : ''}`, style: { color: `var(--${color})` } }),
        lastOf(name, values, shown),
      ),
    ),
  );

function lastOf(name: string, values: readonly (number | null)[], shown: (value: number) => string): string {
  const last = values.findLast((value) => value !== null);
  return last === undefined || last === null ? name : `${name} ${shown(last)}`;
}
