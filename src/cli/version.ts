// `lorikeet version`.

import { packageVersion } from '../server/http/version.ts';
import { type Command, exitCodes } from './command.ts';

export const versionCommand: Command = {
  name: 'version',
  usage: 'version',
  summary: 'print the versions of Lorikeet and Node',
  options: {},
  settings: 'none',
  positionalsMax: 0,
  async run({ json, print, printJson }) {
    const versions = { lorikeet: packageVersion, node: process.versions.node };
    if (json) printJson(versions);
    else print(`lorikeet ${versions.lorikeet} (Node ${versions.node}, ${process.platform}-${process.arch})`);
    return exitCodes.ok;
  },
};
