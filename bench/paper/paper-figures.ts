// Figures of the LoRA paper (arXiv 2106.09685) for GPT-3 175B: accuracies in percent, norms, sizes.

/** Table 6, for r = 1, 2, 4, 8, 64. */
export const paperRanks = {
  'WikiSQL, Wq': [68.8, 69.6, 70.5, 70.4, 70.0],
  'WikiSQL, Wq,Wv': [73.4, 73.3, 73.7, 73.8, 73.5],
  'MNLI, Wq': [90.7, 90.9, 91.1, 90.7, 90.7],
  'MNLI, Wq,Wv': [91.3, 91.4, 91.3, 91.6, 91.4],
} as const;

/** Table 5, 18M parameters each. WikiSQL within 0.5, MNLI within 0.1. */
export const paperMatrices = {
  Wq: { ranks: '8', wikiSql: 70.4, mnli: 91.0 },
  Wk: { ranks: '8', wikiSql: 70.0, mnli: 90.8 },
  Wv: { ranks: '8', wikiSql: 73.0, mnli: 91.0 },
  Wo: { ranks: '8', wikiSql: 73.2, mnli: 91.3 },
  'Wq,Wk': { ranks: '4', wikiSql: 71.4, mnli: 91.3 },
  'Wq,Wv': { ranks: '4', wikiSql: 73.7, mnli: 91.3 },
  'Wq,Wk,Wv,Wo': { ranks: '2', wikiSql: 73.7, mnli: 91.7 },
} as const;

/** Table 7: Wq of layer 48, ‖Uᵀ W Vᵀ‖ over the directions of each matrix, and ‖ΔW‖. */
export const paperAmplification = [
  { r: 4, weightNorm: 61.95, deltaNorm: 6.91, alongDelta: 0.32, alongWeight: 21.67, alongRandom: 0.02 },
  { r: 64, weightNorm: 61.95, deltaNorm: 3.57, alongDelta: 1.9, alongWeight: 37.71, alongRandom: 0.33 },
] as const;

/** Section 4.2: r = 4 on queries and values, weights in 16 bits. */
export const paperCosts = {
  ...{ fullParameters: 175e9, loraParameters: 18e6, fullBytes: 350e9, loraBytes: 35e6 },
  ...{ fullMemoryBytes: 1.2e12, loraMemoryBytes: 350e9 },
} as const;
