// `lorikeet serve`: the server in the foreground until it is told to stop.

import { type Clock, systemClock } from '../core/clock.ts';
import { type Command, exitCodes } from './command.ts';
import { jsonReport, startReport } from './start-report.ts';

/** One Ctrl-C can arrive twice, from the terminal and from npm; a person's second one comes later. */
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
    // The other commands need none of what the server is made of, and start faster without it.
    const { serve } = await import('../main.ts');
    const report = json ? jsonReport(io.stdout) : startReport(io.stderr, systemClock);
    await serve(loaded, report, stop).catch((error) => {
      if (!stop.aborted) throw error;
    });
    return exitCodes.ok;
  },
};

/** Aborted by the first signal; a second one ends the process at once, and the engine with it. */
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
  // The launcher was killed: nobody would tell this process to stop.
  process.once('disconnect', () => controller.abort());
  return controller.signal;
}
