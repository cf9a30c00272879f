// `lorikeet doctor`: checks whether this machine can serve, and says what to do about each problem. Each check is one
// function. None changes anything, except that the data dir is created.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, freemem, tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Config, environmentForPip } from '../config.ts';
import type { ModelFiles } from '../core/base-model.ts';
import { deviceNames, parseDevice } from '../core/device.ts';
import { describeMemory, describeParts } from '../core/memory-plan.ts';
import { probeOf } from '../main/engine.ts';
import { memoryLimit, planFor } from '../main/memory.ts';
import { modelSources } from '../main/model.ts';
import { pipArguments } from '../models/pip.ts';
import { resolveModel } from '../models/resolve.ts';
import { portProblem, urlOf } from '../server/http/address.ts';
import { makeDataDir } from '../storage/data-dir.ts';
import { type Command, exitCodes } from './command.ts';

type Status = 'ok' | 'warning' | 'failed';
type Finding = { readonly status: Status; readonly detail: string; readonly hint?: string };
type Check = { readonly name: string; run(config: Config): Finding | Promise<Finding> };

const execute = promisify(execFile);
const GiB = 2 ** 30;
/** Bytes for a small model's download, its lowered weights and some growth. */
const freeDiskWanted = 1 * GiB;
const freeMemoryWanted = 1 * GiB;
const probeMs = 20_000;
const hubMs = 5000;

const ok = (detail: string): Finding => ({ status: 'ok', detail });
const warning = (detail: string, hint: string): Finding => ({ status: 'warning', detail, hint });
const failed = (detail: string, hint: string): Finding => ({ status: 'failed', detail, hint });

export const doctorCommand: Command = {
  name: 'doctor',
  usage: 'doctor',
  summary: 'look for what would keep the server from starting',
  options: {},
  settings: 'server',
  positionalsMax: 0,
  async run({ json, print, printJson, loadConfig }) {
    const { config } = loadConfig();
    const findings = await Promise.all(
      checks.map(async ({ name, run }) => ({ check: name, ...(await attempt(run, config)) })),
    );
    if (json) printJson(findings);
    else {
      for (const { check, status, detail, hint } of findings) {
        print(`${status.padEnd(8)} ${check.padEnd(14)} ${detail}`);
        if (hint !== undefined) print(`${' '.repeat(24)}${hint}`);
      }
    }
    return findings.some(({ status }) => status === 'failed') ? exitCodes.failed : exitCodes.ok;
  },
};

async function attempt(run: Check['run'], config: Config): Promise<Finding> {
  try {
    return await run(config);
  } catch (error) {
    return failed((error as Error).message, 'This is what the system answered.');
  }
}

const checks: readonly Check[] = [
  { name: 'Node', run: checkNode },
  { name: 'ONNX Runtime', run: checkRuntime },
  { name: 'cuda', run: (config) => checkDevice('cuda', config) },
  { name: 'webgpu', run: (config) => checkDevice('webgpu', config) },
  { name: 'data dir', run: checkDataDir },
  { name: 'disk', run: checkDisk },
  { name: 'memory', run: checkMemory },
  { name: 'memory plan', run: checkPlan },
  { name: 'port', run: checkPort },
  { name: 'pip', run: checkPip },
  { name: 'model hub', run: checkHub },
];

function checkNode(): Finding {
  const found = `${process.versions.node}, ${process.platform}-${process.arch}, ${availableParallelism()} threads`;
  if (Number.parseInt(process.versions.node, 10) >= 24) return ok(found);
  return failed(found, 'Lorikeet runs on Node 24 or newer; `npm start` brings its own.');
}

async function checkRuntime(config: Config): Promise<Finding> {
  const found = await probeOf(config, 'cpu');
  if (!('error' in found)) return ok(`${found.name} with ${found.providers.join(', ')}; ${found.library}`);
  return failed(found.error, 'Run `npm ci`, or set LORIKEET_ORT_LIBRARY to a libonnxruntime of your own.');
}

/** Fails for a missing device only where it was chosen, to serve or to train. */
async function checkDevice(kind: 'cuda' | 'webgpu', config: Config): Promise<Finding> {
  const chosen = [...new Set([...deviceNames(config.device), config.trainingDevice])].filter(
    (device) => parseDevice(device).kind === kind,
  );
  const findings = await Promise.all(
    chosen.length > 0 ? chosen.map((device) => probeDevice(device, config, true)) : [probeDevice(kind, config, false)],
  );
  const details = findings.map(({ detail }) => detail).join('; ');
  const lacking = findings.find(({ status }) => status === 'failed');
  return lacking === undefined ? ok(details) : failed(details, lacking.hint!);
}

async function probeDevice(device: string, config: Config, isChosen: boolean): Promise<Finding> {
  const found = await probeOf(config, device);
  if (!('error' in found)) {
    const free = found.freeBytes === null ? '' : `, ${inGiB(found.freeBytes)} free`;
    return ok(`${device} is there${free}; ${found.library}`);
  }
  if (isChosen) return failed(found.error, 'Choose another with --device or --training-device; cpu is always there.');
  return ok(`not chosen, and not there: ${found.error}`);
}

function checkDataDir({ dataDir }: Config): Finding {
  makeDataDir(dataDir);
  return ok(`${dataDir} can be written to`);
}

async function checkDisk({ dataDir }: Config): Promise<Finding> {
  let folder = dataDir;
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const { bavail, bsize } = await statfs(folder);
  const found = `${inGiB(bavail * bsize)} free at ${folder}`;
  if (bavail * bsize >= freeDiskWanted) return ok(found);
  return warning(found, 'A model and its lowered weights need about twice the size of its file.');
}

function checkMemory(): Finding {
  const { limitBytes, isOwn } = memoryLimit();
  const free = Math.min(freemem(), limitBytes);
  const found = `${inGiB(free)} free of ${inGiB(limitBytes)}${isOwn ? ", which is the cgroup's limit" : ''}`;
  if (free >= freeMemoryWanted) return ok(found);
  return warning(found, 'Less for keys and values (--kv-memory) or adapters (--adapter-memory) leaves more.');
}

/** Reports the memory plan that a start would make. Nothing is downloaded: a model that is not here yet has no plan. */
async function checkPlan(config: Config): Promise<Finding> {
  const sources = modelSources(config);
  let files: ModelFiles;
  try {
    files = await resolveModel(config.model, { ...sources, hub: { ...sources.hub, offline: true } });
  } catch {
    return ok(`${config.model} is not on this machine yet: the plan is made when it is`);
  }
  try {
    const plan = await planFor(config, files);
    const found = `${describeMemory(plan)}: ${describeParts(plan)}`;
    return plan.hasRoomToTrain ? ok(found) : warning(found, 'A training job beside full caches may find too little.');
  } catch (error) {
    return failed((error as Error).message, 'The server would not start.');
  }
}

async function checkPort({ host, port }: Config): Promise<Finding> {
  const reason = await portProblem(host, port);
  if (reason === null) return ok(`${host}:${port} is free`);
  if (await isOurs(urlOf(host, port))) return ok(`${host}:${port} is a Lorikeet that runs`);
  return failed(
    `${host}:${port} cannot be listened on (${reason})`,
    'Choose another with --port, or 0 for a free one.',
  );
}

/** Whether a Lorikeet answers at `url`: the body of its /readyz has a shape that no other server's has. */
async function isOurs(url: string): Promise<boolean> {
  try {
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(hubMs) });
    const body = (await answer.json()) as { engine?: { restarts?: unknown } };
    return typeof body.engine?.restarts === 'number';
  } catch {
    return false;
  }
}

async function checkPip({ python }: Config): Promise<Finding> {
  const program = python ?? 'python3';
  try {
    const { stdout } = await execute(program, pipArguments(tmpdir(), ['--version']), {
      env: environmentForPip(),
      timeout: probeMs,
    });
    return ok(stdout.trim().replace(/ from .*\(/, ' ('));
  } catch {
    return warning(`${program} -m pip does not work`, 'Only needed where the hub cannot be reached.');
  }
}

async function checkHub({ hfEndpoint, hfHubOffline, hfHubCache }: Config): Promise<Finding> {
  const cache = existsSync(hfHubCache) ? hfHubCache : `${hfHubCache} (empty)`;
  if (hfHubOffline) return ok(`switched off (HF_HUB_OFFLINE); cache ${cache}`);
  try {
    await fetch(hfEndpoint, { method: 'HEAD', signal: AbortSignal.timeout(hubMs) });
    return ok(`${hfEndpoint} answers; cache ${cache}`);
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    const reason = cause?.code ?? (error as Error).message;
    return warning(`${hfEndpoint} does not answer (${reason}); cache ${cache}`, 'Cached models and pip still work.');
  }
}

const inGiB = (bytes: number) => `${(bytes / GiB).toFixed(1)} GiB`;
