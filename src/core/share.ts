// Who shares what, and by how much. A share of the engine names a flow by a number that means nothing but itself: whose
// it is (a tenant's) is known to the server alone.

export type Share = {
  /** Sequences of one flow share what is the flow's. */
  readonly flow: number;
  /** Of the flow, against the other flows: twice the weight is twice the service while both want it. Above 0. */
  readonly weight: number;
  /** Of the sequence, against others of its flow, as a weight: 1 is usual. Above 0. */
  readonly priority: number;
};

/** Of sequences that name no flow: they are one. */
export const commonShare: Share = { flow: 0, weight: 1, priority: 1 };

/** Places of which some are taken, by everybody and by who asks for more. */
export type Places = {
  readonly places: number;
  readonly taken: number;
  readonly own: number;
  /** How many are asked for; 1 by default. */
  readonly size?: number;
};

/**
 * Whether so many more may be taken by who asks: afterwards he holds no more than is free, as switches share their
 * buffers (Choudhury and Hahne's dynamic thresholds). Alone one gets half of the places, and whoever comes next always
 * finds some.
 */
export function mayTake({ places, taken, own, size = 1 }: Places): boolean {
  return own + size <= places - taken - (size - 1);
}
