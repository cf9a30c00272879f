// Ceilings on everything that comes from outside, each with its reason. Units are in the names.

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const limits = {
  /** Size of a JSON body: a full 8k-token prompt of 4-byte characters with escapes fits many times over. */
  bodyBytes: 4 * MiB,
  /**
   * Nesting, members, and lists and objects of a JSON body: a schema of 60 levels nests twice as many brackets; 4,096
   * turns have 33,000 members.
   */
  jsonDepth: 256,
  jsonMembers: 65_536,
  /** Members at the top level of a body: the route with the most parameters knows a hundred. */
  bodyMembers: 512,
  /**
   * JSON bodies that are arriving, all together: 32 full ones, or thousands of usual ones. One tenant may take half.
   */
  bodyBytesInAll: 128 * MiB,
  /** Messages in one chat request: long conversations pass, a million empty ones do not. */
  messages: 4096,
  /** Choices of one request (`n`): OpenAI's own ceiling. Choices beyond the free slots wait. */
  choices: 128,
  /** Prompts in one /v1/completions body. */
  prompts: 128,
  /**
   * Texts in one /v1/embeddings body: each is a sequence, and half of a tenant's places in the queue are left for
   * others.
   */
  embeddingInputs: 256,
  /** Tools of one request, and calls in one message: as at OpenAI. */
  tools: 128,
  /** Calls that an output may be forced to contain: small models do not end such a list by themselves. */
  parallelCalls: 16,
  /** Stop strings, and the length of each in UTF-16 units: every stop string is searched after every token. */
  stopStrings: 16,
  stopStringChars: 256,
  /** Stop token ids of a request. */
  stopTokens: 64,
  /** Token ids that a request may restrict its output to. A larger set needs a grammar. */
  allowedTokens: 4096,
  /** Alternatives at each position in `logprobs`; OpenAI allows 20. */
  logprobs: 20,
  /**
   * Log-probabilities of tokens and alternatives in one answer that is not streamed: 12,000 tokens with all
   * alternatives, or 64 prompts of 2,048 tokens with one. Each is some 60 bytes of JSON, all written at once; a stream
   * writes them one by one.
   */
  answerLogprobs: 262_144,
  /** Entries of `logit_bias`; OpenAI's own ceiling is 300. */
  logitBias: 1024,
  /** Characters of a schema or grammar: FHIR's schema, among the largest known, has 3 MB, usual ones some kB. */
  grammarChars: MiB,
  /** Schemas nested in a schema: deeper ones are unreadable, and llguidance stops at 128 brackets. */
  schemaDepth: 60,
  /** Alternatives of `choice`. */
  grammarChoices: 1024,
  /**
   * Work that llguidance may spend: alternatives at one place of the text; work on the regular expressions of a grammar
   * (50 units a microsecond natively) and on those of one mask (14); parser items of one mask; states of the
   * expressions' automaton, 1 to 2 kB each; and symbols of a grammar. No real schema that was tried needs half of any
   * of these.
   */
  grammarItems: 2000,
  grammarFuel: 1_000_000,
  maskFuel: 200_000,
  maskItems: 50_000,
  lexerStates: 50_000,
  grammarSymbols: 500_000,
  /**
   * Candidate tokens that a row tries under its grammar, in order, before a mask of the whole vocabulary is made; and
   * tokens after which a mask is made in any case, because llguidance counts its work from the last mask on.
   */
  tokensTried: 8,
  tokensUnmasked: 64,
  /**
   * A grammar thread that gives no answer for this long is replaced. Work within the limits above takes a tenth of it.
   */
  grammarAnswerMs: 10_000,
  /**
   * A grammar thread that has not started after this long is given up: loading a vocabulary alone takes a third of a
   * second.
   */
  grammarStartMs: 60_000,
  /** Compiled grammars that a thread keeps for later requests with the same grammar. */
  grammarPrototypes: 64,
  /** An unused grammar thread that has taken more memory than this is ended, since WebAssembly memory never shrinks. */
  grammarIdleBytes: 256 * MiB,
  /** Grammars found valid that are not checked again, and their characters in all. */
  grammarsChecked: 1024,
  grammarsCheckedChars: 16 * MiB,
  /**
   * Requests that one tenant may have waiting for a slot while nobody else's wait; all tenants together may have twice
   * as many. At 16 slots this is many minutes of work.
   */
  waitingRequests: 512,
  /** Characters of a request's `cache_salt`: a digest or an identifier. */
  cacheSaltChars: 256,
  /** Longest `timeout_ms` of a request: one day. */
  answerTimeoutMs: 24 * 60 * 60 * 1000,
  /** Prompt tokens of waiting requests, which are what waiting really costs in memory and time. */
  waitingTokens: 1_000_000,
  /** All headers of a request: Node's own default, stated here so that it is a decision. */
  headerBytes: 16 * KiB,
  /** Characters of a request id that a caller sends: a UUID or a trace id fits, a log injection does not. */
  requestIdChars: 128,
  /** Time for headers, and for a whole request, to arrive; slower senders only hold sockets. */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  /**
   * A chunked body of at least `chunksMin` chunks must bring this many bytes a chunk on average. Lines of a file bring
   * more.
   */
  chunkBytes: 16,
  chunksMin: 1024,
  /**
   * An idle connection stays open slightly longer than the 60 s of common load balancers, which must be the first to
   * close.
   */
  keepAliveTimeoutMs: 65_000,
  /**
   * Open connections in all: each takes a file descriptor, of which a process often has 1,024 or more, and children
   * need some.
   */
  connections: 4096,
  /** Connections from one address: a gateway holds hundreds, and one address leaves room for others. */
  connectionsOfAddress: 2048,
  /** Requests of one key in progress, streams and followers of events included. */
  requestsOfKey: 1024,
  /** A connection on which no byte moves for this long is closed. Streams send a comment long before. */
  socketIdleMs: 120_000,
  /** Time in which a refusal on a bare socket may reach the other side before the socket is closed. */
  socketEndMs: 1000,
  /** Longest duration of an upload, or of a download, even where its bytes keep moving; uploads can be resumed. */
  uploadMsMax: 2 * 60 * 60 * 1000,
  downloadMsMax: 2 * 60 * 60 * 1000,
  /** Silence on a stream before a comment is sent, so that proxies with a 30 s idle limit keep it open. */
  heartbeatMs: 15_000,
  /**
   * Requests with a wrong key from one address in a minute: a misconfigured client stays below, a search for keys does
   * not.
   */
  authAttempts: 60,
  /** Shortest operator key in the configuration: at 60 tries a minute nobody finds 12 letters and digits. */
  adminKeyChars: 12,
  /** Adapter names that a key may be bound to. A key for more is a tenant of its own. */
  keyAdapters: 256,
  /** File names beside an adapter's two that an upload may mention: a checkpoint's folder has about twenty. */
  adapterCompanions: 64,
  /** Adapters that one request may apply at once: each takes at least one page, of a few pages for each slot. */
  appliedAdapters: 16,
  /** Characters of an adapter reference: a name of 127, `@` or `:`, and a version or an alias. */
  adapterReferenceChars: 256,
  /** Entries on one page of a list, as in OpenAI's lists. */
  listPage: 100,
  /** Adapters in /v1/models, which has no pages: clients read the whole list. */
  listedModels: 10_000,
  /**
   * Time that a deletion may take before the answer says that it is still going on: requests in flight may take
   * minutes.
   */
  deletionWaitMs: 5000,
  /** An upload must bring at least this many bytes in each period, 1 KiB/s, or it is ended. */
  uploadPeriodMs: 30_000,
  uploadPeriodBytes: 30 * KiB,
  /** Time in which a refused sender may read the refusal before its connection is closed. */
  uploadRefusedMs: 1000,
  /**
   * A reader must take at least this many bytes in each period while bytes wait for it, 1 KiB/s, or its connection is
   * closed: an answer holds memory, and a download holds its adapter's files or a process.
   */
  readPeriodMs: 60_000,
  readPeriodBytes: 60 * KiB,
  /** Adapters with a series of their own in the metrics: each adds a few hundred bytes to every scrape. */
  metricsAdapters: 100,
  /** Names in the metrics' lists of running and of waiting adapters: more than a server has slots. */
  metricsActiveAdapters: 64,
  /** Events that wait for a slow reader beyond the socket's own buffer: more than a full default answer. */
  streamEvents: 1024,

  /** Size of adapter_model.safetensors: rank 128 on every linear of a 70B model in 16 bits is 3.3 GB. */
  adapterWeightsBytes: 4 * GiB,
  /**
   * Uploads in progress, of all tenants together: they share one disk, and each may hold a whole adapter's bytes there.
   * One tenant alone gets half of the places.
   */
  uploads: 32,
  /** Resumable uploads of one tenant, begun or complete, whose weights no adapter has taken yet. */
  uploadsKept: 32,
  /** Time for which such uploads are kept after their last byte: enough for a night and a bad connection. */
  uploadKeptMs: 24 * 60 * 60 * 1000,
  /**
   * Time for which stored content is kept that no database row names: over a holiday in which nobody notices a wrong
   * database.
   */
  quarantineMs: 14 * 24 * 60 * 60 * 1000,
  /**
   * Exports and analyses in progress, one process each: a core and 150 to 500 MB while they work, beside an engine that
   * wants all cores. A second process lets a short analysis pass a long download; one tenant never has all three.
   */
  offlineProcesses: 3,
  /**
   * Bytes that such a process may write to the log: a stack with some context, but not the output of a loop of
   * warnings.
   */
  offlineLogBytes: 16 * KiB,
  /** Analyses kept in memory, up to a few MB each. An analysis stays valid because content never changes. */
  analysesKept: 32,
  /** Largest singular values reported of each linear: further ones would not show in a figure. */
  analysisSingularValues: 64,
  /** Versions and aliases kept in memory, about 3 kB each; the least recently used are read from the database again. */
  versionsKept: 20_000,
  /** Contents that were verified once and are served without another look, 150 bytes each. */
  contentsTrusted: 100_000,
  /** Size of an adapter's own chat template: the largest published ones, with macros for tools, have some 20 kB. */
  chatTemplateBytes: 64 * KiB,
  /** Characters of the text that such a template may render: more than any context holds. */
  chatTemplateTextChars: 8 * MiB,
  /**
   * Time for rendering one template: a usual one takes a millisecond. A template that takes longer is ended with its
   * process.
   */
  chatTemplateMs: 1000,
  /**
   * Heap of the template process in MiB, and its memory in all beyond what it has at its start (checked on Linux),
   * since a single text or list may lie outside the heap. Four MB of messages take 60 MiB.
   */
  chatTemplateHeapMiB: 64,
  chatTemplateMemoryMiB: 192,
  /** Time for which a template that had to be ended is refused, so that it does not hold up its tenant's others. */
  chatTemplateRestMs: 60_000,
  /**
   * Conversations that wait for the template process, each with its messages. A tenant gets half of what others leave.
   */
  chatTemplatesWaiting: 256,
  /** Longest start of the template process, on a very slow machine. */
  chatTemplateStartMs: 60_000,
  /** Parsed templates that the process keeps, and template texts that the server keeps in memory. */
  chatTemplatesKept: 64,
  /** Aliases of one name, and versions that one alias splits its requests over: people keep these in their heads. */
  aliases: 256,
  aliasTargets: 16,

  /** Merges of one tenant, failed ones included: more than any memory budget holds, and each is a row. */
  merges: 256,
  /** Longest wait of an answer for a merge: proxies give up on a silent connection after 60 s. */
  mergeWaitMs: 30_000,
  /**
   * Tokens of each short text on which merged and unmerged weights are compared: some 500 positions in all, a second's
   * work.
   */
  mergeProbeTokens: 64,
  /** Combinations of adapters and scales whose traffic is measured one by one; further ones count in the sum only. */
  trafficAdapters: 1024,
  /** Window over which shares of traffic are measured: longer than a burst, shorter than a shift of load. */
  trafficWindowMs: 60_000,
  /** Fewer tokens than this in a window are only a few answers, and say nothing about what is popular. */
  autoMergeTokensMin: 1000,
  /** Interval at which the merge policy decides. */
  autoMergePeriodMs: 5000,
  /** Merges that the policy holds at once: beyond these, switching between groups costs more than merging saves. */
  autoMerges: 4,
  /** Shortest life of a merge that the policy made: several times what making it takes. */
  autoMergeLifeMs: 5 * 60_000,
  /** Time before the policy tries again what failed, or what an admin has unmerged. */
  autoMergeRetryMs: 30 * 60_000,
  /** Size of a training file: half a gigabyte is weeks of training on a CPU, and OpenAI's own ceiling. */
  trainingFileBytes: 512 * MiB,
  /** Rows of a file; the trainer keeps the offset of each in memory. */
  trainingRows: 1_000_000,
  /** Problems of a file that its refusal lists; a longer list helps nobody. */
  trainingProblems: 20,
  /** Files of one tenant, results of jobs included: nobody keeps track of more. */
  trainingFiles: 1000,
  /** Characters of a file's name, which is only displayed. */
  fileNameChars: 255,
  /** Unfinished jobs of one tenant, and of all: one job trains at a time, for hours. */
  liveJobs: 16,
  liveJobsInAll: 256,
  /** Finished jobs of one tenant that are still listed. */
  finishedJobs: 1000,
  /** Requests of a batch, and the time for answering them: OpenAI's own ceilings. */
  batchLines: 50_000,
  batchWindowMs: 24 * 60 * 60 * 1000,
  customIdChars: 512,
  /** Unfinished batches of one tenant, and of all: one batch of a tenant is answered at a time. */
  liveBatches: 16,
  liveBatchesInAll: 256,
  /** Size of all answers of a batch, with log-probabilities. */
  batchOutputBytes: 16 * GiB,
  /** Metrics of a job that are kept: a curve with more points looks the same. Events beside them are few. */
  jobMetrics: 1000,
  /** Points of the loss curve that is kept with a trained version. */
  lossCurvePoints: 200,
  /** Latest checkpoints of a job that can be fetched as adapters, as at OpenAI: each takes an adapter's room. */
  jobCheckpoints: 3,
  /** Entries, and characters of keys and values, in a job's `metadata`: OpenAI's own ceilings. */
  metadataEntries: 16,
  metadataKeyChars: 64,
  metadataValueChars: 512,
  /** Characters of a job's suffix, which becomes the adapter's name: OpenAI's ceiling. */
  suffixChars: 64,
  /** Passes over a file: a small file is memorised after far fewer. */
  trainingEpochs: 100,
  /** Optimiser steps: at a tenth of a second each this is a day. */
  trainingSteps: 1_000_000,
  /** Rows, and tokens, of one optimiser step: they are computed in micro-batches, so that only time limits them. */
  trainingBatchRows: 1024,
  trainingBatchTokens: 1_048_576,
  /** Highest learning rate, and its highest multiplier: adapters diverge far below these. */
  trainingLearningRate: 1,
  trainingLearningRateMultiplier: 100,
  /** Highest weight decay: with a learning rate of 1 it makes every weight zero in one step. */
  trainingWeightDecay: 1,
  trainingGradNorm: 1_000_000,
  /** Rank of a trained adapter: the optimiser holds three more copies of it. */
  trainingRank: 256,
  trainingAlpha: 65_536,
  /** Highest dropout: with more than half of the inputs dropped only noise is left. */
  trainingDropout: 0.5,
  /** Tokens of a row: attention's memory grows with their square. */
  trainingRowTokens: 8192,
  /**
   * A trainer that says nothing for this long hangs: a step of the largest batch on the smallest share takes minutes.
   */
  trainerSilentMs: 30 * 60_000,
  /** Time for a trainer to write its checkpoint when it is paused, and to exit when it is done or cancelled. */
  trainerPauseMs: 60_000,
  trainerStopMs: 10_000,

  /**
   * Size of GGUF metadata: SmolLM2's is 2 MB (vocabulary and merges), the largest known 256k vocabularies have about 15
   * MB.
   */
  ggufHeaderBytes: 64 * MiB,
  ggufTensors: 20_000,
  ggufMetadataEntries: 4096,
  /** Items of all metadata arrays together: a 256k vocabulary with scores, types and merges has 1.3 million. */
  ggufArrayElements: 4_000_000,
  /** Nesting of arrays, which the format allows and no known file uses. */
  ggufArrayDepth: 3,
  /** Length of a metadata key or a tensor name: the format's own limit for keys. */
  ggufNameBytes: 65_535,
  ggufAlignmentBytes: 65_536,
  ggufStringBytes: 16 * MiB,
  /** Size of a safetensors header: the format's own rule is 100 MB, and 8 MiB describe more than 20,000 tensors. */
  safetensorsHeaderBytes: 8 * MiB,
  safetensorsTensors: 20_000,
  /** Entries of `__metadata__`: training tools write a few dozen. */
  safetensorsMetadata: 4096,
  /**
   * Tensors of an adapter: three for each linear of 128 layers are 2,700. The header is read while other requests wait.
   */
  adapterTensors: 8192,
  /** Size of a GGUF adapter's metadata, which describes the adapter and contains no vocabulary. */
  ggufAdapterHeaderBytes: 4 * MiB,
  ggufAdapterArrayElements: 16_384,
  /** Rank of an adapter: published adapters end at 512, and the pages of a larger one would crowd out all others. */
  adapterRank: 1024,
  /**
   * Largest output of an adapter's linear for an input of 1. Usual adapters stay below a thousand; through a whole
   * layer, where gate and up multiply, a million still ends far below the largest float.
   */
  adapterGrowth: 1_000_000,
  /** Factor by which DoRA may lengthen a row of the base: learned magnitudes stay near the row's own length. */
  adapterGain: 1000,
  /**
   * Characters of a line of a training file: a row of 100k tokens with its escapes; longer rows would be cut anyway.
   */
  trainingRowChars: MiB,
  /** Pages of 8 ranks in a linear's pool: room for 32,768 adapters of rank 16. */
  adapterPages: 65_536,
  /** Keys of rank_pattern or alpha_pattern: one for each linear of a model of 512 layers. */
  adapterPatterns: 4096,
  /**
   * Characters of a pattern in an adapter's config: three times the longest that a common tool writes (Unsloth's, 323).
   */
  adapterPatternChars: 1024,
  /** Characters of all proper regular expressions of a config, repetitions written out: about 100 usual ones. */
  adapterRegexWeight: 4096,
  /** Size of an adapter's config: PEFT writes a few kB, and patterns for every linear of a large model fit. */
  adapterConfigBytes: MiB,
  /** Size of a base model's config.json and tokenizer_config.json. */
  configBytes: 8 * MiB,
  /** Size of tokenizer.json: 256k vocabularies reach 35 MB. */
  tokenizerBytes: 128 * MiB,
  /** Dimensions of a base model, small enough that their products stay exact integers. */
  modelLayers: 512,
  modelHidden: 65_536,
  modelIntermediate: 262_144,
  modelHeads: 1024,
  modelHeadDim: 1024,
  modelContext: 16_777_216,
  modelVocabulary: 1_048_576,
} as const;

/** The limits as values that tests may replace. */
export type Limits = { readonly [K in keyof typeof limits]: number };
