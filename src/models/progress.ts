// What a fetch tells while it goes on. Drawing a bar is the command line's work.

export type ModelProgress = {
  readonly phase: 'download' | 'unpack' | 'verify';
  /** What is fetched: a file's name or a package's. */
  readonly item: string;
  readonly receivedBytes: number;
  /** null where the source does not say. */
  readonly totalBytes: number | null;
};

/** Where a source reports to. */
export type FetchReport = {
  readonly onProgress: (progress: ModelProgress) => void;
  /** One line for the operator: which source was tried, and why it was left. */
  readonly log: (line: string) => void;
};
