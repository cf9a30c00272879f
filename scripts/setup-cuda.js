// node scripts/setup-cuda.js [--data-dir .lorikeet] [--python python3] [--compiler-only] [--pin]: puts a build of ONNX
// Runtime with CUDA, and the NVIDIA libraries that it is linked with, into the data dir, where `--device cuda` finds
// them. They come as Python packages: pip downloads them and checks them against scripts/cuda-packages.json, and none
// of their Python code is run. The driver is the system's.
//
//   --compiler-only  of NVIDIA's libraries only the compiler of kernels, where stand-ins replace the others
//   --pin            downloads nothing and writes scripts/cuda-packages.json: for another version of onnxruntime-node

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './install.js';

const { values } = parseArgs({
  options: {
    'data-dir': { type: 'string', default: process.env.LORIKEET_DATA_DIR || '.lorikeet' },
    python: { type: 'string', default: process.env.LORIKEET_PYTHON || 'python3' },
    'compiler-only': { type: 'boolean', default: false },
    pin: { type: 'boolean', default: false },
  },
});
const dataDir = resolve(values['data-dir']);
const target = join(dataDir, 'cuda');
const pins = join(root, 'scripts', 'cuda-packages.json');
/**
 * Python runs in this folder: it looks for modules in the current folder first, and another one may hold anybody's
 * files.
 */
const work = values.pin ? mkdtempSync(join(tmpdir(), 'lorikeet-cuda-')) : join(dataDir, 'cuda.new');
/** Most bytes that the archives and the unpacked libraries need. */
const freeBytesMin = 4 * 2 ** 30;

const platforms = {
  'linux-x64': ['manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux2014_x86_64', 'manylinux1_x86_64'],
  'linux-arm64': [
    'manylinux_2_34_aarch64',
    'manylinux_2_28_aarch64',
    'manylinux_2_27_aarch64',
    'manylinux2014_aarch64',
  ],
};

/** The library's C API does not depend on Python's version; every release has a package for 3.12. */
const choice = (tags) => [
  ...['--no-deps', '--only-binary=:all:', '--disable-pip-version-check', '--python-version=3.12'],
  ...tags.map((tag) => `--platform=${tag}`),
];

/** Libraries that the CUDA provider is linked with, and those that they need. */
const nvidiaLibraries = /^lib(cudart|cublas|cublasLt|curand|nvrtc|nvrtc-builtins)\.so/;
const runtimeLibraries = /^libonnxruntime(\.so\.[\d.]+|_providers_(cuda|shared)\.so)$/;

try {
  if (values.pin) pin();
  else setUp();
} catch (error) {
  process.stderr.write(`setup-cuda: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

function setUp() {
  const platform = `${process.platform}-${process.arch}`;
  const tags = platforms[platform];
  if (!tags) throw new Error(`there is no build for ${platform}`);
  const packages = JSON.parse(readFileSync(pins, 'utf8'))[platform];
  // This build and that of onnxruntime-node must have the same C API.
  const runtime = `onnxruntime-gpu==${runtimeVersion()}`;
  if (!packages.some(({ requirement }) => requirement === runtime)) {
    throw new Error(`${pins} is of another version than ${runtime}; --pin writes it anew`);
  }
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'out'), { recursive: true });
  const { bavail, bsize } = statfsSync(work);
  if (bavail * bsize < freeBytesMin) throw new Error(`${dataDir} has less than ${freeBytesMin / 2 ** 30} GiB free`);

  for (const pinned of packages) {
    const isRuntime = pinned.requirement === runtime;
    if (!isRuntime && values['compiler-only'] && !/nvrtc/.test(pinned.requirement)) continue;
    download(pinned, tags);
    unpack(isRuntime ? runtimeLibraries : nvidiaLibraries);
  }
  rmSync(target, { recursive: true, force: true });
  renameSync(join(work, 'out'), target);
  process.stdout.write(`${readdirSync(target).sort().join('\n')}\nin ${target}; now: npm start -- --device cuda\n`);
}

function runtimeVersion() {
  const path = join(root, 'node_modules', 'onnxruntime-node', 'package.json');
  if (!existsSync(path)) throw new Error('run `npm ci` first');
  return JSON.parse(readFileSync(path, 'utf8')).version;
}

/** Asks the package index for the current packages, and writes their versions and digests. */
function pin() {
  const all = Object.entries(platforms).map(([platform, tags]) => {
    const runtime = found(`onnxruntime-gpu==${runtimeVersion()}`, tags);
    const nvidia = nvidiaRequirements(runtime.metadata.requires_dist).map((requirement) => found(requirement, tags));
    const packages = [runtime, ...nvidia].map(({ metadata, download_info: { archive_info: archive } }) => ({
      requirement: `${metadata.name}==${metadata.version}`,
      sha256: archive.hashes.sha256,
    }));
    return [platform, packages];
  });
  writeFileSync(pins, `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`);
}

/** The package that pip would install for `requirement`. */
function found(requirement, tags) {
  const report = ['--dry-run', '--quiet', '--report=-', `--target=${join(work, 'none')}`];
  const { install } = JSON.parse(run(['-m', 'pip', 'install', ...report, ...choice(tags), requirement]));
  return install[0];
}

/**
 * NVIDIA's packages with their versions. The runtime's package requires all but cuBLAS, which gets the same CUDA
 * version.
 */
function nvidiaRequirements(requirements) {
  const needed = requirements.flatMap((line) => {
    const match = /^(nvidia-(?:cuda-runtime|cuda-nvrtc|curand)[\w-]*?)((?:~=|==|>=)[\d.]+)/.exec(line);
    return match === null ? [] : [{ name: match[1], pin: match[2] }];
  });
  const runtime = needed.find(({ name }) => name.startsWith('nvidia-cuda-runtime'));
  if (!runtime) throw new Error('the package does not say which CUDA it needs');
  const suffix = runtime.name.replace('nvidia-cuda-runtime', '');
  const cublas = suffix === '' ? `nvidia-cublas${runtime.pin}` : `nvidia-cublas${suffix}`;
  return [...needed.map(({ name, pin }) => name + pin), cublas];
}

function download({ requirement, sha256 }, tags) {
  process.stdout.write(`fetching ${requirement}\n`);
  const list = join(work, 'requirements.txt');
  writeFileSync(list, `${requirement} --hash=sha256:${sha256}\n`);
  run([
    '-m',
    'pip',
    'download',
    '--quiet',
    `--dest=${work}`,
    ...choice(tags),
    '--require-hashes',
    `--requirement=${list}`,
  ]);
}

function archives() {
  return readdirSync(work).filter((file) => file.endsWith('.whl'));
}

/** Unpacks the members whose file name matches into one folder, and removes the archives. */
function unpack(pattern) {
  for (const file of archives()) {
    python(
      `
import os, re, shutil, sys, zipfile
archive, pattern, out = sys.argv[1:]
with zipfile.ZipFile(archive) as wheel:
    for name in wheel.namelist():
        if re.match(pattern, os.path.basename(name)):
            with wheel.open(name) as source, open(os.path.join(out, os.path.basename(name)), 'wb') as target:
                shutil.copyfileobj(source, target, 1 << 20)
`,
      [join(work, file), pattern.source, join(work, 'out')],
    );
    rmSync(join(work, file));
  }
}

function python(program, args) {
  return run(['-c', program, ...args]);
}

function run(args) {
  // A path is resolved here, since Python runs in another folder; a name is looked up in PATH.
  const program = /[\\/]/.test(values.python) ? resolve(values.python) : values.python;
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: work,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (error) throw new Error(`${values.python} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1) || `${values.python} ended with ${status}`);
  return stdout;
}
