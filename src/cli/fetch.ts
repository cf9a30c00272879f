// `lorikeet fetch`: downloads the model's files without serving them, for images and for machines that go offline.

import { systemClock } from '../core/clock.ts';
import { type Command, exitCodes } from './command.ts';
import { startReport } from './start-report.ts';

export const fetchCommand: Command = {
  name: 'fetch',
  usage: 'fetch [model]',
  summary: 'fetch the base model and serve nothing',
  options: {},
  settings: 'server',
  concerns: ['model', 'dataDir', 'python', 'hfEndpoint', 'hfToken', 'hfHome', 'hfHubCache', 'hfHubOffline'],
  positionalsMax: 1,
  async run({ positionals: [model], json, io, loadConfig, print, printJson }) {
    const { config } = loadConfig(model === undefined ? {} : { model });
    const { findModel } = await import('../main/model.ts');
    const files = await findModel(config, startReport(io.stderr, systemClock));
    if (json) printJson(files);
    else for (const path of [...files.weights, ...Object.values(files.sidecars)]) print(path);
    return exitCodes.ok;
  },
};
