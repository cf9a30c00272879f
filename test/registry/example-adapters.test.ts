import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadExamples } from '../../src/registry/example-adapters.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { testRegistry } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';

test('examples are loaded once: one that is deleted does not come back, a new one comes', async (t) => {
  const folder = temporaryFolder(t);
  const registry = await testRegistry(t);
  const options = { folder, marker: join(folder, 'marker'), tenant: 'default' };
  const add = (name: string, seed: number) => {
    const { config, weights } = tinyAdapter(seed);
    mkdirSync(join(folder, name));
    writeFileSync(join(folder, name, 'adapter_config.json'), config);
    writeFileSync(join(folder, name, 'adapter_model.safetensors'), weights);
  };
  mkdirSync(join(folder, 'no-adapter'));
  add('first', 1);
  add('second', 2);
  assert.deepEqual(await loadExamples(registry, options), ['first', 'second']);
  assert.equal((await registry.find('default', 'first')).source, 'example');
  await registry.delete('default', 'first', null);
  add('third', 3);
  assert.deepEqual(await loadExamples(registry, options), ['third']);
  assert.deepEqual(await loadExamples(registry, options), []);
  const listed = await registry.list('default', { after: null, limit: 9 });
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['second', 'third'],
  );
});
