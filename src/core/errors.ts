// Every operating error has a stable code. A code is part of the HTTP interface: rename one and a user's code breaks.
// Programmer errors are not here: they throw plain Errors and become `internal_error`.

export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'insufficient_quota'
  | 'server_error'
  | 'overloaded_error';

type ErrorRow = { status: number; type: ErrorType; message: string; retryable?: boolean };

/** The one table of codes: HTTP status, OpenAI's error type, and the message used when none is given. */
export const errorTable = {
  invalid_json: { status: 400, type: 'invalid_request_error', message: 'The body is not valid JSON.' },
  malformed_request: { status: 400, type: 'invalid_request_error', message: 'The request is not valid HTTP.' },
  invalid_parameter: { status: 400, type: 'invalid_request_error', message: 'A parameter is invalid.' },
  missing_parameter: { status: 400, type: 'invalid_request_error', message: 'A required parameter is missing.' },
  unknown_parameter: { status: 400, type: 'invalid_request_error', message: 'A parameter is not known.' },
  unsupported_parameter: {
    status: 400,
    type: 'invalid_request_error',
    message: 'This parameter is known but not supported here.',
  },
  context_length_exceeded: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The prompt is longer than the context of this server.',
  },
  chat_template_failed: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The chat template refused these messages.',
  },
  chat_template_too_slow: {
    status: 400,
    type: 'invalid_request_error',
    message: "The adapter's chat template took too long, or too much memory.",
  },
  grammar_invalid: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The schema or grammar of the output is not valid, or uses something that is not supported.',
  },
  grammar_too_complex: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The schema or grammar of the output is too complex.',
  },
  invalid_api_key: { status: 401, type: 'authentication_error', message: 'No valid API key was given.' },
  insufficient_permissions: {
    status: 403,
    type: 'permission_error',
    message: 'The API key lacks the scope that this route needs.',
  },
  host_not_allowed: {
    status: 403,
    type: 'permission_error',
    message: 'Without keys this server answers only to a loopback name; create a key to open it.',
  },
  origin_not_allowed: {
    status: 403,
    type: 'permission_error',
    message: 'Without keys this server answers no web pages of others; create a key to open it.',
  },
  too_many_requests: {
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many requests of this key are being answered.',
    retryable: true,
  },
  too_many_attempts: {
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many requests without a valid key came from this address.',
    retryable: true,
  },
  not_found: { status: 404, type: 'not_found_error', message: 'There is nothing at this address.' },
  model_not_found: { status: 404, type: 'not_found_error', message: 'The model does not exist.' },
  adapter_not_found: { status: 404, type: 'not_found_error', message: 'The adapter does not exist.' },
  alias_not_found: { status: 404, type: 'not_found_error', message: 'The alias does not exist.' },
  key_not_found: { status: 404, type: 'not_found_error', message: 'The key does not exist.' },
  tenant_not_found: { status: 404, type: 'not_found_error', message: 'The tenant does not exist.' },
  upload_not_found: { status: 404, type: 'not_found_error', message: 'The upload does not exist.' },
  adapter_invalid: { status: 400, type: 'invalid_request_error', message: 'The adapter is not valid.' },
  adapter_unsupported: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The adapter uses something that is not supported here.',
  },
  adapter_too_large: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The adapter needs more pages than this server has.',
  },
  adapter_deleting: { status: 409, type: 'invalid_request_error', message: 'The adapter is being deleted.' },
  adapter_corrupt: {
    status: 500,
    type: 'server_error',
    message: 'The stored adapter is damaged and is not served. Upload it again.',
  },
  alias_changed: {
    status: 412,
    type: 'invalid_request_error',
    message: 'The alias is not what If-Match says it is. Read it again.',
  },
  digest_mismatch: {
    status: 400,
    type: 'invalid_request_error',
    message: 'The bytes that arrived do not have the digest that was announced.',
  },
  upload_offset_mismatch: {
    status: 409,
    type: 'invalid_request_error',
    message: 'The upload does not continue where the last one stopped.',
  },
  too_many_uploads: {
    status: 503,
    type: 'overloaded_error',
    message: 'Too many uploads are under way. Try again later.',
    retryable: true,
  },
  merge_not_found: { status: 404, type: 'not_found_error', message: 'There is no such merge.' },
  merge_budget_exceeded: {
    status: 409,
    type: 'invalid_request_error',
    message: 'The merge needs more memory than LORIKEET_MERGE_MEMORY leaves.',
  },
  idempotency_conflict: {
    status: 409,
    type: 'invalid_request_error',
    message: 'The Idempotency-Key is in use.',
  },
  request_quarantined: {
    status: 422,
    type: 'invalid_request_error',
    message: 'Engines died while they worked on this very request; it is refused for some minutes.',
  },
  file_not_found: { status: 404, type: 'not_found_error', message: 'The file does not exist.' },
  file_invalid: { status: 400, type: 'invalid_request_error', message: 'The file has rows that cannot be trained on.' },
  file_corrupt: {
    status: 500,
    type: 'server_error',
    message: 'The file is damaged on this server. Upload it again.',
  },
  file_in_use: {
    status: 409,
    type: 'invalid_request_error',
    message: 'A training job or a batch still needs the file.',
  },
  job_not_found: { status: 404, type: 'not_found_error', message: 'The training job does not exist.' },
  batch_not_found: { status: 404, type: 'not_found_error', message: 'The batch does not exist.' },
  batch_state_conflict: {
    status: 409,
    type: 'invalid_request_error',
    message: 'The batch is not in a state that allows this.',
  },
  batch_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many batches are waiting.',
    retryable: true,
  },
  job_state_conflict: {
    status: 409,
    type: 'invalid_request_error',
    message: 'The training job is not in a state that allows this.',
  },
  rate_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    message: 'You have reached a rate limit. Try again later.',
    retryable: true,
  },
  insufficient_quota: {
    status: 429,
    type: 'insufficient_quota',
    message: 'You have used up your quota.',
  },
  job_limit_exceeded: {
    status: 429,
    type: 'rate_limit_error',
    message: 'Too many training jobs are waiting.',
    retryable: true,
  },
  training_failed: { status: 500, type: 'server_error', message: 'The training job failed.' },
  offline_overloaded: {
    status: 503,
    type: 'overloaded_error',
    message: 'Too many exports and analyses are under way. Try again later.',
    retryable: true,
  },
  offline_failed: { status: 500, type: 'server_error', message: 'The work on the weights failed.' },
  storage_full: {
    status: 507,
    type: 'server_error',
    message: "This server's disk is full or cannot be written to. What is loaded goes on answering.",
  },
  storage_busy: {
    status: 503,
    type: 'overloaded_error',
    message: 'Another program holds the database of this server.',
    retryable: true,
  },
  storage_unavailable: {
    status: 503,
    type: 'overloaded_error',
    message: 'The database or the store of this server cannot be reached.',
    retryable: true,
  },
  method_not_allowed: { status: 405, type: 'invalid_request_error', message: 'The route has no such method.' },
  request_timeout: { status: 408, type: 'invalid_request_error', message: 'The request did not arrive in time.' },
  body_too_large: { status: 413, type: 'invalid_request_error', message: 'The body is too large.' },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    message: 'The content type is not supported; send application/json.',
  },
  headers_too_large: { status: 431, type: 'invalid_request_error', message: 'The headers are too large.' },
  logits_not_finite: {
    status: 500,
    type: 'server_error',
    message: 'The base model gives no finite logits for this prompt: its activations overflow.',
  },
  deadline_exceeded: {
    status: 504,
    type: 'server_error',
    message: 'The answer was not ready within timeout_ms.',
  },
  server_overloaded: {
    status: 503,
    type: 'overloaded_error',
    message: 'The queue is full. Try again later.',
    retryable: true,
  },
  server_draining: {
    status: 503,
    type: 'overloaded_error',
    message: 'The server is shutting down.',
    retryable: true,
  },
  engine_unavailable: {
    status: 503,
    type: 'overloaded_error',
    message: 'The engine is not ready.',
    retryable: true,
  },
  engine_failed: {
    status: 503,
    type: 'overloaded_error',
    message: 'The engine stopped while it worked on this request.',
    retryable: true,
  },
  internal_error: { status: 500, type: 'server_error', message: 'The server made an error.' },
  // Model files and start-up; these reach a user through the command line and the log, not through HTTP.
  model_file_invalid: { status: 500, type: 'server_error', message: 'The model file is invalid.' },
  model_unsupported: { status: 500, type: 'server_error', message: 'The model is not supported.' },
  model_unavailable: { status: 500, type: 'server_error', message: 'The model could not be fetched.' },
  runtime_unavailable: { status: 500, type: 'server_error', message: 'ONNX Runtime could not be loaded.' },
  device_unavailable: { status: 500, type: 'server_error', message: 'The device is not available.' },
  backup_invalid: { status: 500, type: 'server_error', message: 'The backup is not whole.' },
  database_invalid: { status: 500, type: 'server_error', message: 'The database is damaged.' },
  memory_exceeded: { status: 500, type: 'server_error', message: 'The configuration needs more memory than there is.' },
  invalid_config: { status: 500, type: 'server_error', message: 'The configuration is invalid.' },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

export const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(errorTable, value);

export type ErrorOptions = { message?: string; param?: string; retryAfterSeconds?: number; cause?: unknown };

/** An operating error: something a caller or an operator can act on. */
export class LorikeetError extends Error {
  readonly code: ErrorCode;
  /** The parameter at fault, as a path (`messages[0].content`); null where there is none. */
  readonly param: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    super(options.message ?? errorTable[code].message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'LorikeetError';
    this.code = code;
    this.param = options.param ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  get type(): ErrorType {
    return errorTable[this.code].type;
  }
}
