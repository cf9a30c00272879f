// Batches: files of requests that are answered beside all others at a low priority. This file is the contract; the
// server uses nothing else of them.

export const batchStates = [
  'validating',
  'in_progress',
  'finalizing',
  'cancelling',
  'completed',
  'failed',
  'expired',
  'cancelled',
] as const;
export type BatchState = (typeof batchStates)[number];

/** States of a batch that is not over. Its input file cannot be deleted. */
export const liveBatchStates: readonly BatchState[] = ['validating', 'in_progress', 'finalizing', 'cancelling'];
export const finishedBatchStates: readonly BatchState[] = ['completed', 'failed', 'expired', 'cancelled'];

/** Routes that lines may ask. */
export const batchEndpoints = ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/embeddings'] as const;
export type BatchEndpoint = (typeof batchEndpoints)[number];

export type BatchProblem = {
  readonly code: string;
  readonly message: string;
  readonly line: number | null;
  readonly param: string | null;
};

export type NewBatch = {
  readonly createdBy: string | null;
  readonly inputFile: string;
  readonly endpoint: BatchEndpoint;
  readonly metadata: Readonly<Record<string, string>> | null;
};

/** Times are milliseconds since the epoch. */
export type Batch = Omit<NewBatch, 'endpoint'> & {
  readonly id: string;
  readonly tenant: string;
  readonly endpoint: string;
  readonly state: BatchState;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** When it entered each state; a missing state was not entered. */
  readonly times: Readonly<Partial<Record<BatchState, number>>>;
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number };
  readonly outputFile: string | null;
  readonly errorFile: string | null;
  readonly problems: readonly BatchProblem[];
};

/** Every method that takes an id throws `batch_not_found`, also for another tenant's batch. */
export type Batches = {
  /** Throws `file_not_found`, `invalid_parameter` for a file of another purpose, `batch_limit_exceeded`. */
  create(tenant: string, batch: NewBatch): Promise<Batch>;
  /** Batches of a tenant, newest first. */
  list(tenant: string, page: { readonly after: string | null; readonly limit: number }): Promise<Batch[]>;
  find(tenant: string, id: string): Promise<Batch>;
  /**
   * Cancels a batch. Lines answered so far go to its output file. Throws `batch_state_conflict` for a batch that is
   * over.
   */
  cancel(tenant: string, id: string): Promise<Batch>;
  /** Begins to answer lines. Before, batches only wait. */
  start(answer: AnswerLine): void;
  /** Gives up the lines under way, which the next start asks again. */
  close(): Promise<void>;
};

/** The request of one line, made on behalf of the batch's tenant. */
export type LineRequest = {
  readonly tenant: string;
  readonly keyPrefix: string | null;
  readonly endpoint: string;
  readonly body: object;
  readonly signal: AbortSignal;
};

export type LineAnswer = {
  readonly status: number;
  readonly requestId: string;
  readonly body: unknown;
  /** Seconds after which the line is to be asked again; null: this is its final answer. */
  readonly retryAfterSeconds: number | null;
};

/** Answers a line. Rejects only where the signal was aborted, or by an error of the server itself. */
export type AnswerLine = (line: LineRequest) => Promise<LineAnswer>;
