// The look of the console's plots: thin lines, a faint grid, the page's colours and font.

import type uPlot from 'uplot';
import { figure } from '../figures.ts';

export type Line = {
  readonly name: string;
  /** A colour of styles/1-tokens.css: the name of its custom property without the dashes. */
  readonly color: string;
  readonly values: readonly (number | null)[];
  readonly isDashed?: boolean;
};

export type CurvesProps = {
  readonly label: string;
  /** Steps, or with `isTime` seconds since the epoch; ascending. */
  readonly x: readonly number[];
  readonly lines: readonly Line[];
  readonly height?: number;
  readonly isTime?: boolean;
  readonly shown?: (value: number) => string;
  /** Whether the y axis begins at zero. */
  readonly fromZero?: boolean;
};

const wholeSteps = [1, 2, 5]
  .flatMap((digit) => Array.from({ length: 7 }, (_, power) => digit * 10 ** power))
  .sort((a, b) => a - b);

const clock = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const clockTimes: uPlot.Axis.Values = (_plot, values) => values.map((seconds) => clock.format(seconds * 1000));

type Size = { readonly width: number; readonly height: number };

/** @param _shape not used: the colours are read from the page for each plot */
export function plotOptions(props: CurvesProps, size: Size, _shape: string): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const { shown = figure, fromZero = false, isTime = false, lines } = props;
  const axis: uPlot.Axis = {
    stroke: resolved('text-faint'),
    grid: { stroke: resolved('line'), width: 1 },
    ticks: { show: false },
    font: `11px ${color('font')}`,
  };
  return {
    ...size,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 } },
    scales: {
      x: { time: isTime },
      y: { range: (_plot, low, high) => spanOf(low, high, fromZero) },
    },
    axes: [
      { ...axis, size: 26, space: 70, ...(isTime ? { values: clockTimes } : { incrs: wholeSteps }) },
      { ...axis, size: 52, space: 32, values: (_plot, values) => values.map((value) => shown(value)) },
    ],
    series: [
      {},
      ...lines.map(({ name, color: own, isDashed }) => ({
        label: name,
        stroke: resolved(own),
        width: 1.75,
        spanGaps: true,
        points: { show: false },
        ...(isDashed ? { dash: [5, 4] } : {}),
      })),
    ],
  };
}

/** The colour that a custom property has now. A canvas knows neither custom properties nor light-dark(). */
function resolved(name: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function spanOf(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) return [0, 1];
  const bottom = fromZero ? 0 : low;
  const room = (high - bottom) * 0.08 || Math.abs(high) * 0.1 || 1;
  // Values that are never negative get no room below zero.
  return [fromZero ? 0 : Math.max(low >= 0 ? 0 : Number.NEGATIVE_INFINITY, bottom - room), high + room];
}
