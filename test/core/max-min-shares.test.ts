// Weighted max-min fairness: nobody gets more than it wants, nothing is left that anybody wants, and nobody who gets
// less than it wants has less for its weight than another.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { maxMinShares } from '../../src/core/max-min-shares.ts';

test('what one leaves goes to the others by weight', () => {
  const claims = [
    { weight: 1, most: 1 },
    { weight: 1, most: 100 },
    { weight: 2, most: 100 },
  ];
  assert.deepEqual(maxMinShares(10, claims), [1, 3, 6]);
  assert.deepEqual(maxMinShares(1000, claims), [1, 100, 100]);
  assert.deepEqual(maxMinShares(0, claims), [0, 0, 0]);
  assert.deepEqual(maxMinShares(10, []), []);
});

test('shares of any claims are max-min fair', () => {
  const claim = fc.record({ weight: fc.double({ min: 0.1, max: 10, noNaN: true }), most: fc.nat({ max: 50 }) });
  fc.assert(
    fc.property(fc.array(claim, { maxLength: 8 }), fc.nat({ max: 200 }), (claims, total) => {
      const shares = maxMinShares(total, claims);
      const sum = shares.reduce((all, one) => all + one, 0);
      const wanted = claims.reduce((all, { most }) => all + most, 0);
      assert.ok(Math.abs(sum - Math.min(total, wanted)) < 1e-6, `${sum}`);
      for (const [i, { weight, most }] of claims.entries()) {
        assert.ok(shares[i]! >= 0 && shares[i]! <= most);
        if (shares[i]! > most - 1e-9) continue;
        for (const [j, other] of claims.entries()) {
          assert.ok(shares[j]! / other.weight <= shares[i]! / weight + 1e-6, `${j} beside ${i}`);
        }
      }
    }),
  );
});
