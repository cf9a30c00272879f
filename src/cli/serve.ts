// `lorikeet serve`: runs the server in the foreground until a signal stops it.

import { type Clock, systemClock } from '../core/clock.ts';
import { type Command, exitCodes } from './command.ts';
import { jsonReport, startReport } from './start-report.ts';

/**
 * Time in which a second signal counts as the same Ctrl-C, which the terminal and npm both deliver, in milliseconds.
 */
const sameSignalMs = 1000;

export const serveCommand: Command = {
  name: 'serve',
  usage: 'serve [model]',
  summary: 'start the server',
  options: {},
  settings: 'server',
  positionalsMax: 1,
  async run({ positionals: [model], json, io, loadConfig }) {
    const loaded = loadConfig(model === undefined ? {} : { model });
    const stop = stopSignal(systemClock);
    // Imported here, since other commands start faster without the server's modules.
    const { serve } = await import('../main.ts');
    const report = json ? jsonReport(io.stdout) : startReport(io.stderr, systemClock);
    await serve(loaded, report, stop).catch((error) => {
      if (!stop.aborted) throw error;
    });
    return exitCodes.ok;
  },
};

/**
 * Gives a signal that the first SIGINT or SIGTERM aborts. A second one ends the process at once, and the engine with
 * it.
 */
function stopSignal(clock: Clock): AbortSignal {
  const controller = new AbortController();
  let firstAt = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      if (!controller.signal.aborted) firstAt = clock.monotonic();
      else if (clock.monotonic() - firstAt > sameSignalMs) process.exit(1);
      controller.abort();
    });
  }
  // The launcher was killed, and nobody else would stop this process.
  process.once('disconnect', () => controller.abort());
  return controller.signal;
}
