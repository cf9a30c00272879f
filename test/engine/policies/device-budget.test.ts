import assert from 'node:assert/strict';
import test from 'node:test';
import { type DeviceNeeds, devicePages } from '../../../src/engine/policies/device-budget.ts';

const GB = 1e9;
const needs: DeviceNeeds = {
  ...{ freeBytes: 80 * GB, weightBytes: 16 * GB, kvBytes: 8 * GB, reservedBytes: 0, pageBytes: 0.04 * GB },
  ...{ pagesMin: 64, pagesMax: 65_536 },
};

test('pages take what weights, keys and values leave, and spare some for runs', () => {
  // (80 * 0.85 - 16 - 8) / 0.04
  assert.equal(devicePages(needs), 1100);
  assert.equal(devicePages({ ...needs, pagesMax: 500 }), 500);
});

test('room for merges and a trainer is left, as far as the smallest number of pages allows', () => {
  assert.equal(devicePages({ ...needs, reservedBytes: 4 * GB }), 1000);
  assert.equal(devicePages({ ...needs, reservedBytes: 400 * GB }), 64);
});

test('where the smallest number of pages does not fit, nothing does', () => {
  assert.equal(devicePages({ ...needs, freeBytes: 31.5 * GB }), 69);
  assert.equal(devicePages({ ...needs, freeBytes: 31 * GB }), null);
  assert.equal(devicePages({ ...needs, freeBytes: 10 * GB }), null);
});
