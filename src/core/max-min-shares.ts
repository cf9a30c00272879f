// Weighted max-min fairness.

type Claim = { readonly weight: number; readonly most: number };

/**
 * Shares `total` out by weight, in the order of the claims. No claim gets more than its `most`; what one leaves goes to
 * the others by weight.
 */
export function maxMinShares(total: number, claims: readonly Claim[]): number[] {
  const shares = claims.map(() => 0);
  let open = claims.map((claim, index) => ({ ...claim, index }));
  let rest = total;
  while (open.length > 0) {
    const perWeight = rest / open.reduce((sum, { weight }) => sum + weight, 0);
    const isSated = ({ weight, most }: Claim) => most <= perWeight * weight;
    const sated = open.filter(isSated);
    if (sated.length === 0) {
      for (const { index, weight } of open) shares[index] = perWeight * weight;
      break;
    }
    for (const { index, most } of sated) {
      shares[index] = most;
      // A sum of fractions may exceed the total by its rounding.
      rest = Math.max(0, rest - most);
    }
    open = open.filter((claim) => !isSated(claim));
  }
  return shares;
}
