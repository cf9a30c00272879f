// The text of every kernel compiles for each card that it is meant for and for both kinds of 16-bit numbers, and keeps
// all that a thread holds in registers. NVRTC is the real one (scripts/rehearse-cuda.js).

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { compileCuda } from '../../src/runtime/cuda-driver.ts';
import { testCudaDir } from '../helpers/test-runtime.ts';
import { skip } from './card-log.ts';

const texts = join(import.meta.dirname, '../../native/cuda');
const shared = readFileSync(join(texts, 'device.cuh'), 'utf8');

/** Codes of a cubin's attributes, in its section .nv.info, and how an attribute says that it has a length. */
const frameSize = 0x11;
const sized = 4;
/** One register, and what it is aligned to. */
const frameMost = 8;

/** Bytes of memory that a thread of each kernel takes for what registers do not hold. */
function framesOf(cubin: Uint8Array): number[] {
  const view = new DataView(cubin.buffer, cubin.byteOffset, cubin.byteLength);
  const sectionsAt = Number(view.getBigUint64(0x28, true));
  const [bytes, count, namesIn] = [0x3a, 0x3c, 0x3e].map((at) => view.getUint16(at, true)) as [number, number, number];
  const section = (i: number) => {
    const at = sectionsAt + i * bytes;
    return {
      nameAt: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 0x18, true)),
      length: Number(view.getBigUint64(at + 0x20, true)),
    };
  };
  const names = section(namesIn).offset;
  const nameOf = ({ nameAt }: ReturnType<typeof section>) => {
    const start = names + nameAt;
    return Buffer.from(cubin.subarray(start, cubin.indexOf(0, start))).toString();
  };
  const info = Array.from({ length: count }, (_, i) => section(i)).find((one) => nameOf(one) === '.nv.info')!;
  const frames: number[] = [];
  for (let at = info.offset; at < info.offset + info.length; ) {
    const [format, code, length] = [view.getUint8(at), view.getUint8(at + 1), view.getUint16(at + 2, true)];
    // A kernel's number, and its bytes.
    if (code === frameSize) frames.push(view.getUint32(at + 8, true));
    at += 4 + (format === sized ? length : 0);
  }
  return frames;
}

for (const file of readdirSync(texts).filter((name) => name.endsWith('.cu'))) {
  const text = `${shared}\n${readFileSync(join(texts, file), 'utf8')}`;
  const kernels = text.match(/extern "C" __global__/g)!.length;
  test(`${file} compiles, and keeps to registers`, { skip }, () => {
    for (const card of ['sm_80', 'sm_86', 'sm_90']) {
      for (const real of [[], ['-DREAL_BFLOAT16=1']]) {
        const flags = [`-arch=${card}`, '-std=c++17', '-default-device', ...real];
        const frames = framesOf(compileCuda(testCudaDir, file, text, flags));
        assert.ok(frames.length >= kernels && frames.every((bytes) => bytes <= frameMost), `${flags}: ${frames}`);
      }
    }
  });
}

test('what does not fit into registers is seen', { skip }, () => {
  const text = `${shared}\n${readFileSync(join(texts, 'quantized-linear.cu'), 'utf8')}`.replaceAll(
    /__launch_bounds__\(.*?\)/g,
    '',
  );
  const flags = ['-arch=sm_90', '-std=c++17', '-default-device', '--maxrregcount=64'];
  assert.ok(framesOf(compileCuda(testCudaDir, 'quantized-linear.cu', text, flags)).some((bytes) => bytes > frameMost));
});
