// `lorikeet config`: prints every setting's value and origin; secrets are masked.

import { describeSettings } from '../config.ts';
import { type Command, exitCodes } from './command.ts';

export const configCommand: Command = {
  name: 'config',
  usage: 'config',
  summary: 'print every setting with its origin; secrets are masked',
  options: {},
  settings: 'server',
  positionalsMax: 0,
  async run({ json, print, printJson, loadConfig }) {
    const loaded = loadConfig();
    const rows = describeSettings(loaded);
    if (json) {
      printJson(Object.fromEntries(rows.map(({ key, ...rest }) => [key, rest])));
      return exitCodes.ok;
    }
    const width = (column: 'env' | 'shown') => Math.max(...rows.map((row) => row[column].length));
    const [envWidth, shownWidth] = [width('env'), width('shown')];
    for (const { env, shown, origin } of rows) {
      print(`${env.padEnd(envWidth)}  ${shown.padEnd(shownWidth)}  ${origin}`);
    }
    for (const name of loaded.unknownVariables) print(`${name} is set, but is no setting of Lorikeet.`);
    return exitCodes.ok;
  },
};
