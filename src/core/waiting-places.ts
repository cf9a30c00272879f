// A few places that are waited for, in the order of asking.

export type WaitingPlaces = {
  /** @returns what gives the place back, once */
  take(): Promise<() => void>;
  /** Places may have become more. */
  look(): void;
  /** Places, taken or not. */
  readonly most: number;
};

/** @param places asked each time one is taken or given back */
export function waitingPlaces(places: () => number): WaitingPlaces {
  const waiting: (() => void)[] = [];
  let taken = 0;
  const look = () => {
    while (waiting.length > 0 && taken < places()) {
      taken++;
      waiting.shift()!();
    }
  };
  return {
    look,
    get most() {
      return places();
    },
    async take() {
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
        look();
      });
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        taken--;
        look();
      };
    },
  };
}
