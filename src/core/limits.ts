// Everything that comes from outside has a ceiling here, with its reason. Units are in the names.

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

export const limits = {
  /** A JSON body: a full 8k-token prompt of 4-byte characters with escapes fits many times over. */
  bodyBytes: 4 * MiB,
  /** Levels and members of a JSON body: a schema of 60 levels has twice as many brackets, 4,096 turns have 33,000. */
  jsonDepth: 256,
  jsonMembers: 65_536,
  /** Members at the top of a body: the route with the most knows a hundred. */
  bodyMembers: 512,
  /** All JSON bodies that are arriving: 32 full ones, or thousands of usual ones. A tenant has half of it. */
  bodyBytesInAll: 128 * MiB,
  /** Messages in one chat request: long conversations pass, a million empty ones do not. */
  messages: 4096,
  /** Choices asked for by one request (`n`): OpenAI's own ceiling; those beyond the free slots wait. */
  choices: 128,
  /** Prompts in one /v1/completions body. */
  prompts: 128,
  /** Texts in one /v1/embeddings body: each is a sequence, and half of a tenant's places in the queue are left. */
  embeddingInputs: 256,
  /** Tools of one request, as at OpenAI, and calls of one message. */
  tools: 128,
  /** Calls that an output may be forced to hold: small models do not end by themselves. */
  parallelCalls: 16,
  /** Stop strings, and the length of each in UTF-16 units: every one is searched after every token. */
  stopStrings: 16,
  stopStringChars: 256,
  /** Stop token ids of a request. */
  stopTokens: 64,
  /** Token ids that a request may restrict its output to: more are a grammar's work. */
  allowedTokens: 4096,
  /** Alternatives a position in `logprobs`; OpenAI allows 20. */
  logprobs: 20,
  /**
   * Log-probabilities in one whole answer, of tokens and alternatives: 12,000 tokens with all alternatives, or 64
   * prompts of 2,048 tokens with one. Each is some 60 bytes of JSON, written at once; streams write them one by one.
   */
  answerLogprobs: 262_144,
  /** Entries of `logit_bias`; OpenAI's own ceiling is lower (300) for its clients. */
  logitBias: 1024,
  /** A schema or grammar of an output, as text: FHIR's, among the largest there are, has 3 MB, usual ones some kB. */
  grammarChars: MiB,
  /** Schemas within a schema: nobody reads deeper ones, and llguidance stops at 128 brackets. */
  schemaDepth: 60,
  /** Alternatives of `choice`. */
  grammarChoices: 1024,
  /**
   * What llguidance may spend. Alternatives at one place of the text; work on the regular expressions of a grammar (50
   * units a microsecond natively) and on those of one mask (14); parser items of one mask; states of the expressions'
   * automaton, 1 to 2 kB each; and symbols of a grammar. Half of these are never seen in real schemas.
   */
  grammarItems: 2000,
  grammarFuel: 1_000_000,
  maskFuel: 200_000,
  maskItems: 50_000,
  lexerStates: 50_000,
  grammarSymbols: 500_000,
  /**
   * Tokens that a row under a grammar would take, in order, before a mask of the whole vocabulary is made; and tokens
   * after which one is made in any case: what may be spent is counted from the last one on.
   */
  tokensTried: 8,
  tokensUnmasked: 64,
  /** A grammar thread without an answer for so long is replaced: what is within the limits above takes a tenth. */
  grammarAnswerMs: 10_000,
  /** One that has not begun after so long will not: it loads a vocabulary, which takes a third of a second alone. */
  grammarStartMs: 60_000,
  /** Compiled grammars that a thread keeps for the next request with the same. */
  grammarPrototypes: 64,
  /** A thread that nobody uses and that has taken more memory than this is ended: it gives none back. */
  grammarIdleBytes: 256 * MiB,
  /** Grammars that were found good and need no second look. */
  grammarsChecked: 1024,
  grammarsCheckedChars: 16 * MiB,
  /**
   * Requests waiting for a slot, of one tenant while nobody else's wait, and twice as many of all together: at 16 slots
   * this is many minutes of work.
   */
  waitingRequests: 512,
  /** `cache_salt` of a request: a digest or an identifier. */
  cacheSaltChars: 256,
  /** `timeout_ms` of a request: who waits longer than a day does not wait. */
  answerTimeoutMs: 24 * 60 * 60 * 1000,
  /** Prompt tokens waiting, which is what a waiting request really costs in memory and time. */
  waitingTokens: 1_000_000,
  /** All headers of a request: Node's own default, said here so that it is a decision. */
  headerBytes: 16 * KiB,
  /** A request id that a caller sent: a UUID or a trace id fits, a log injection does not. */
  requestIdChars: 128,
  /** How long headers, and a whole request, may take to arrive; slower senders hold sockets for nothing. */
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 60_000,
  /** Chunks of a chunked body bring so many bytes on average, once there are so many: lines of a file have more. */
  chunkBytes: 16,
  chunksMin: 1024,
  /** An idle connection stays open a little longer than the 60 s of common load balancers, which must close first. */
  keepAliveTimeoutMs: 65_000,
  /** Connections in all: each is a descriptor, of which a process often has 1,024 or more, and children need some. */
  connections: 4096,
  /** Of one address: a gateway holds hundreds, and one address leaves room for others. */
  connectionsOfAddress: 2048,
  /** Requests of one key that are being answered, streams and followers of events included. */
  requestsOfKey: 1024,
  /** A connection on which no byte moves for so long is closed; streams send a comment long before. */
  socketIdleMs: 120_000,
  /** After a refusal on a bare socket its bytes may reach the other side before it is closed. */
  socketEndMs: 1000,
  /** How long an upload, or a download, may take in all, however slowly its bytes move; uploads can be resumed. */
  uploadMsMax: 2 * 60 * 60 * 1000,
  downloadMsMax: 2 * 60 * 60 * 1000,
  /** Silence on a stream before a comment is sent, so that proxies with a 30 s idle limit keep it open. */
  heartbeatMs: 15_000,
  /** Requests with a wrong key from one address in a minute: a misconfigured client is let go, a search is not. */
  authAttempts: 60,
  /** The operator's key by configuration, at the least: nobody finds 12 letters and digits at 60 tries a minute. */
  adminKeyChars: 12,
  /** Names of adapters that a key may be bound to: more is a tenant of its own. */
  keyAdapters: 256,
  /** Names of files beside an adapter's two that an upload may mention: a checkpoint's folder has about twenty. */
  adapterCompanions: 64,
  /** Adapters that one request may apply at once: a page or more each, of a few pages a slot. */
  appliedAdapters: 16,
  /** What a caller may write for an adapter: a name of 127, `@` or `:`, and a version or an alias. */
  adapterReferenceChars: 256,
  /** Adapters on one page of a list, as OpenAI's lists. */
  listPage: 100,
  /** Adapters in /v1/models, which has no pages: clients read it whole. */
  listedModels: 10_000,
  /** How long a deletion is waited for before the answer says that it goes on: requests in flight may take minutes. */
  deletionWaitMs: 5000,
  /** An upload brings at least this many bytes in each period, 1 KiB/s, or its sender is let go. */
  uploadPeriodMs: 30_000,
  uploadPeriodBytes: 30 * KiB,
  /** A refused sender may read the refusal before its connection is closed on what it still sends. */
  uploadRefusedMs: 1000,
  /**
   * A reader takes at least this many bytes of what waits for it in each period, 1 KiB/s, or its connection is closed:
   * an answer holds memory, and a download its adapter's files or a process.
   */
  readPeriodMs: 60_000,
  readPeriodBytes: 60 * KiB,
  /** Adapters with a series of their own in the metrics; each is a few hundred bytes at every scrape. */
  metricsAdapters: 100,
  /** Names in the list of running or of waiting adapters: more than the slots of a server. */
  metricsActiveAdapters: 64,
  /** Events that wait for a slow reader beyond the socket's own buffer; more than a full default answer. */
  streamEvents: 1024,

  /** adapter_model.safetensors: rank 128 on every linear of a 70B model in 16 bits is 3.3 GB. */
  adapterWeightsBytes: 4 * GiB,
  /**
   * Uploads at once, all tenants together: they share one disk, and each may hold a whole adapter's bytes there. One
   * tenant alone has half of the places.
   */
  uploads: 32,
  /** Weights of one tenant that a resumable upload has begun or brought and no adapter took yet. */
  uploadsKept: 32,
  /** How long those are kept after their last byte: over a night and a bad connection, not for ever. */
  uploadKeptMs: 24 * 60 * 60 * 1000,
  /** How long content is kept that no row knows: over a holiday in which nobody notices a wrong database. */
  quarantineMs: 14 * 24 * 60 * 60 * 1000,
  /**
   * Exports and analyses at once, a process each: a core and 150 to 500 MB while they work, beside an engine that
   * wants all cores. A second one lets a short analysis pass a long download; one tenant never has all three.
   */
  offlineProcesses: 3,
  /** What such a process may write to the log: a stack with some context; a loop of warnings does not fill the disk. */
  offlineLogBytes: 16 * KiB,
  /** Analyses kept in memory: content never changes, so an answer stays right; each is up to a few MB. */
  analysesKept: 32,
  /** Singular values told of each linear, the largest ones: beyond these a figure shows nothing. */
  analysisSingularValues: 64,
  /** Versions and aliases in memory, those asked for last: about 3 kB each. Others are read from the database. */
  versionsKept: 20_000,
  /** Contents that were read whole and are not read again before they are served, at 150 bytes each. */
  contentsTrusted: 100_000,
  /** An adapter's own chat template: the largest that are published, with macros for tools, have some 20 kB. */
  chatTemplateBytes: 64 * KiB,
  /** What such a template may make of a conversation: more than any context holds. */
  chatTemplateTextChars: 8 * MiB,
  /** A usual template takes a millisecond; one without an end after so long is ended, and its process with it. */
  chatTemplateMs: 1000,
  /**
   * The heap of that process, in MiB; and what it may take in all beside what it has at its start, on Linux: a single
   * text or list may be larger than the heap. Four MB of messages take 60.
   */
  chatTemplateHeapMiB: 64,
  chatTemplateMemoryMiB: 192,
  /** How long a template is refused that had to be ended: it holds up the others of its tenant no more. */
  chatTemplateRestMs: 60_000,
  /** Conversations that wait for that process, each with its messages. A tenant has half of what others leave. */
  chatTemplatesWaiting: 256,
  /** How long that process may take to start, on a machine where everything is slow. */
  chatTemplateStartMs: 60_000,
  /** Templates that stay parsed there, and texts of templates that stay in the server's memory. */
  chatTemplatesKept: 64,
  /** Aliases of one name, and versions that one splits its requests over: people keep these in their heads. */
  aliases: 256,
  aliasTargets: 16,

  /** Merges of one tenant, failed ones too: far more than any budget holds, and each is a row. */
  merges: 256,
  /** How long an answer waits for a merge: proxies give up on a silent one after 60 s. */
  mergeWaitMs: 30_000,
  /** Of each short text on which merged and unmerged are compared: some 500 positions together, a second's work. */
  mergeProbeTokens: 64,
  /** Combinations of adapters and scales whose traffic is measured; of more, only the sum. */
  trafficAdapters: 1024,
  /** The window over which shares of traffic are measured: longer than a burst, shorter than a shift of load. */
  trafficWindowMs: 60_000,
  /** Less than this in a window says nothing of what is popular: a few answers. */
  autoMergeTokensMin: 1000,
  /** How often the policy looks. */
  autoMergePeriodMs: 5000,
  /** Merges that the policy has at once: beyond these, groups alternate more than merging saves. */
  autoMerges: 4,
  /** The policy lets a merge live for as long, which is several times what making it takes. */
  autoMergeLifeMs: 5 * 60_000,
  /** What failed, or an admin has unmerged, is not tried again by itself for as long. */
  autoMergeRetryMs: 30 * 60_000,
  /** A file of rows: half a gigabyte is weeks of training on a CPU, and OpenAI's own ceiling. */
  trainingFileBytes: 512 * MiB,
  /** Rows of a file; the trainer keeps an offset of each in memory. */
  trainingRows: 1_000_000,
  /** Problems of a file that its refusal lists; more than a screen of them helps nobody. */
  trainingProblems: 20,
  /** Files of one tenant, results of jobs included: a thousand names are all that anybody overlooks. */
  trainingFiles: 1000,
  /** A file's name, which is only shown. */
  fileNameChars: 255,
  /** Jobs of one tenant, and of all, that are not over: one trains at a time, for hours. */
  liveJobs: 16,
  liveJobsInAll: 256,
  /** Jobs of one tenant that are over and still listed. */
  finishedJobs: 1000,
  /** Requests of a batch, and how long it has: OpenAI's own ceilings. */
  batchLines: 50_000,
  batchWindowMs: 24 * 60 * 60 * 1000,
  customIdChars: 512,
  /** Batches of one tenant, and of all, that are not over: one of a tenant is answered at a time. */
  liveBatches: 16,
  liveBatchesInAll: 256,
  /** All answers of a batch, with log-probabilities. */
  batchOutputBytes: 16 * GiB,
  /** Metrics of a job that are kept: a curve of so many points looks the same with more. Events beside them are few. */
  jobMetrics: 1000,
  /** Points of the loss curve that stays with a trained version. */
  lossCurvePoints: 200,
  /** A job's latest checkpoints that can be asked for as adapters, as at OpenAI: each takes an adapter's room. */
  jobCheckpoints: 3,
  /** `metadata` of a job: OpenAI's own ceilings. */
  metadataEntries: 16,
  metadataKeyChars: 64,
  metadataValueChars: 512,
  /** OpenAI's ceiling for a suffix; it becomes the adapter's name. */
  suffixChars: 64,
  /** Passes over a file: a small one is known by heart after far fewer. */
  trainingEpochs: 100,
  /** Optimiser steps: at a tenth of a second each this is a day. */
  trainingSteps: 1_000_000,
  /** Rows, and tokens, of one optimiser step: they are gathered piece by piece, so that only time limits them. */
  trainingBatchRows: 1024,
  trainingBatchTokens: 1_048_576,
  /** Adapters diverge far below this. */
  trainingLearningRate: 1,
  trainingLearningRateMultiplier: 100,
  /** Decay of 1 with a rate of 1 makes every weight zero in one step. */
  trainingWeightDecay: 1,
  trainingGradNorm: 1_000_000,
  /** Rank of a trained adapter: its optimiser holds three more copies of it. */
  trainingRank: 256,
  trainingAlpha: 65_536,
  /** More than half of the inputs dropped leaves noise. */
  trainingDropout: 0.5,
  /** Tokens of a row: attention's memory grows with the square. */
  trainingRowTokens: 8192,
  /** Without a word for so long a trainer hangs: a step of the largest batch at the least share takes minutes. */
  trainerSilentMs: 30 * 60_000,
  /** How long a trainer may take to write its checkpoint when it is paused, and to end when it is done or cancelled. */
  trainerPauseMs: 60_000,
  trainerStopMs: 10_000,

  /** GGUF metadata: SmolLM2's is 2 MB (vocabulary and merges), the largest known 256k-vocabularies about 15 MB. */
  ggufHeaderBytes: 64 * MiB,
  ggufTensors: 20_000,
  ggufMetadataEntries: 4096,
  /** Items of all arrays together: a 256k vocabulary with scores, types and merges has 1.3 million. */
  ggufArrayElements: 4_000_000,
  /** The format allows nested arrays; no known file has them. */
  ggufArrayDepth: 3,
  /** A metadata key or tensor name: the format's own limit for keys. */
  ggufNameBytes: 65_535,
  ggufAlignmentBytes: 65_536,
  ggufStringBytes: 16 * MiB,
  /** Safetensors' own rule is 100 MB; a header of 8 MiB describes more than 20,000 tensors. */
  safetensorsHeaderBytes: 8 * MiB,
  safetensorsTensors: 20_000,
  /** Entries of its `__metadata__`: training tools write a few dozen. */
  safetensorsMetadata: 4096,
  /** Tensors of an adapter: three for each linear of 128 layers are 2,700. Its header is read while others wait. */
  adapterTensors: 8192,
  /** A GGUF adapter's metadata says what it is and has no vocabulary. */
  ggufAdapterHeaderBytes: 4 * MiB,
  ggufAdapterArrayElements: 16_384,
  /** An adapter's rank: published adapters end at 512, and pages of a larger one would crowd out all others. */
  adapterRank: 1024,
  /**
   * What an adapter may make of an input of 1 in one linear. Usual ones stay below a thousand; through a whole layer,
   * where gate and up multiply, this still ends far below the largest float.
   */
  adapterGrowth: 1_000_000,
  /** How much DoRA may lengthen a row of the base: learned magnitudes stay near the row's own length. */
  adapterGain: 1000,
  /** A line of a training file: a row of 100k tokens with its escapes; longer ones would be cut anyway. */
  trainingRowChars: MiB,
  /** Pages of 8 ranks in a linear's pool: one r = 16 adapter for each of 32,768. */
  adapterPages: 65_536,
  /** Keys of rank_pattern or alpha_pattern: one for each linear of a model of 512 layers fits. */
  adapterPatterns: 4096,
  /** A pattern of an adapter's config: three times the longest that a common tool writes (Unsloth's, 323). */
  adapterPatternChars: 1024,
  /** Characters of all true regular expressions of a config, repetitions written out: about 100 usual ones. */
  adapterRegexWeight: 4096,
  /** An adapter's config: PEFT writes one of a few kB; patterns of every linear of a large model fit. */
  adapterConfigBytes: MiB,
  /** config.json, tokenizer_config.json of a base model. */
  configBytes: 8 * MiB,
  /** tokenizer.json: 256k vocabularies reach 35 MB. */
  tokenizerBytes: 128 * MiB,
  /** Dimensions of a base model, so that products stay far inside exact integers. */
  modelLayers: 512,
  modelHidden: 65_536,
  modelIntermediate: 262_144,
  modelHeads: 1024,
  modelHeadDim: 1024,
  modelContext: 16_777_216,
  modelVocabulary: 1_048_576,
} as const;

/** As a server has them; tests have others. */
export type Limits = { readonly [K in keyof typeof limits]: number };
