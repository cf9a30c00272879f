// Shows a training job's progress: a bar on a terminal, a few plain lines in a log.

import type { Writable } from 'node:stream';
import type { Clock } from '../../core/clock.ts';

/** The figures of a metrics event, as the server sends them. */
export type StepFigures = {
  readonly step: number;
  readonly total_steps: number;
  readonly train_loss: number;
  readonly valid_loss?: number;
  readonly tokens_per_second: number;
  readonly eta_seconds: number;
};

export type TrainingBar = {
  step(figures: StepFigures): void;
  /** Prints a line that stays, above the bar. */
  say(line: string): void;
  clear(): void;
};

const barWidth = 24;
/** Shortest time between two lines of a log, in milliseconds. Validations and the last step are printed in any case. */
const lineMs = 10_000;

export function trainingBar(out: Writable & { isTTY?: boolean }, clock: Clock): TrainingBar {
  const isDrawn = out.isTTY === true;
  let printedAt = Number.NEGATIVE_INFINITY;
  let drawn = '';
  let validLoss: number | undefined;
  return {
    step(figures) {
      validLoss = figures.valid_loss ?? validLoss;
      const line = describe({ ...figures, ...(validLoss === undefined ? {} : { valid_loss: validLoss }) });
      if (isDrawn) {
        drawn = line;
        out.write(`\r\x1b[K${line}`);
        return;
      }
      const isLast = figures.step === figures.total_steps;
      if (figures.valid_loss === undefined && !isLast && clock.monotonic() - printedAt < lineMs) return;
      printedAt = clock.monotonic();
      out.write(`${line}\n`);
    },
    say(line) {
      out.write(drawn === '' ? `${line}\n` : `\r\x1b[K${line}\n${drawn}`);
    },
    clear() {
      // The last figures stay on the terminal.
      if (drawn !== '') out.write('\n');
      drawn = '';
    },
  };
}

function describe({ step, total_steps: total, train_loss, valid_loss, tokens_per_second, eta_seconds }: StepFigures) {
  const filled = '='.repeat(Math.round((step / Math.max(total, 1)) * barWidth)).padEnd(barWidth);
  const valid = valid_loss === undefined ? '' : `, validation ${valid_loss.toFixed(3)}`;
  const speed = `${Math.round(tokens_per_second).toLocaleString('en')} tokens/s`;
  const left = step === total ? '' : `, ${duration(eta_seconds)} left`;
  return `  [${filled}] ${step}/${total}  loss ${train_loss.toFixed(3)}${valid}  ${speed}${left}`;
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
