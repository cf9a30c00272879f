// `lorikeet config`: every value, where it came from, secrets masked.

import { type Config, type LoadedConfig, settingTable } from '../config.ts';
import { type Command, exitCodes } from './command.ts';

const mask = '********';

export const configCommand: Command = {
  name: 'config',
  usage: 'config',
  summary: 'print every setting with its origin; secrets are masked',
  options: {},
  settings: true,
  positionalsMax: 0,
  async run({ json, print, printJson, loadConfig }) {
    const loaded = loadConfig();
    const rows = describe(loaded);
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

type SettingLine = { key: string; env: string; value: unknown; shown: string; origin: string };

function describe({ config, origins }: LoadedConfig): SettingLine[] {
  return Object.entries(settingTable).map(([key, setting]) => {
    const actual = config[key as keyof Config];
    const value = setting.fileEnv !== null && actual !== null ? mask : actual;
    const shown = value === null ? (setting.defaultHelp ?? '') : String(value);
    return { key, env: setting.env, value, shown, origin: origins[key as keyof typeof origins] };
  });
}
