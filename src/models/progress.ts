// Progress reports of fetches. The command line draws them.

export type ModelProgress = {
  readonly phase: 'download' | 'unpack' | 'verify';
  /** Name of the file or package that is fetched. */
  readonly item: string;
  readonly receivedBytes: number;
  /** null where the source does not tell. */
  readonly totalBytes: number | null;
};

/** Receiver of a source's reports. */
export type FetchReport = {
  readonly onProgress: (progress: ModelProgress) => void;
  /** Writes one line for the operator: which source was tried, and why it failed. */
  readonly log: (line: string) => void;
};
