// Who shares the engine, and in which proportion. A flow is a number without meaning to the engine: only the server
// knows whose it is (a tenant's).

export type Share = {
  /** Identifies the flow. Sequences of one flow divide the flow's share among themselves. */
  readonly flow: number;
  /** Weight of the flow against other flows: twice the weight is twice the service while both want it. Above 0. */
  readonly weight: number;
  /** Weight of the sequence against others of its flow; 1 is usual. Above 0. */
  readonly priority: number;
};

/** Share of sequences that name no flow: together they are one. */
export const commonShare: Share = { flow: 0, weight: 1, priority: 1 };

/** Places, those taken by everybody, and those taken by the owner who asks. */
export type Places = {
  readonly places: number;
  readonly taken: number;
  readonly own: number;
  /** Places asked for; 1 by default. */
  readonly size?: number;
};

/**
 * Whether the owner may take `size` more places: afterwards it must hold no more than are left free, as switches share
 * their buffers (Choudhury and Hahne's dynamic thresholds). A lone owner gets half of the places, and whoever comes
 * next always finds some.
 */
export function mayTake({ places, taken, own, size = 1 }: Places): boolean {
  return own + size <= places - taken - (size - 1);
}
