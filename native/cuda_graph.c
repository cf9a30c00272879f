// Records runs of a session as a graph on the card and replays them: hundreds of launches become one. A recorded run
// reads and writes the addresses that it was recorded with; data that change from run to run are copied there first.
#include "cuda.h"
#include "export.h"
#include <string.h>

enum { RELAXED = 2, MESSAGE_MAX = 512 };
static char message[MESSAGE_MAX];

static const char *run_session(OrtApi api, void *session, void *options, void *binding) {
  OrtStatus (*run)(void *, const void *, const void *) = (void *)api[RUN_WITH_BINDING];
  const char *(*words)(OrtStatus) = (const char *(*)(OrtStatus))api[GET_ERROR_MESSAGE];
  void (*release)(OrtStatus) = (void (*)(OrtStatus))api[RELEASE_STATUS];
  OrtStatus failure = run(session, options, binding);
  if (failure == NULL) return NULL;
  strncpy(message, words(failure), MESSAGE_MAX - 1);
  release(failure);
  return message;
}

/** A run's small inputs and outputs: one behind another on the card, each kind in one piece on the processor. */
typedef struct {
  uint64_t address;
  const void *inputs;
  size_t input_bytes;
  void *outputs;
  size_t output_bytes;
} Exchange;

static const char *send(const Exchange *memory) {
  if (memory->input_bytes == 0) return NULL;
  int code = driver.copy_in(memory->address, memory->inputs, memory->input_bytes, driver.stream);
  return code == 0 ? NULL : "inputs could not be copied to the card";
}

/** Copies outputs back; also waits for the end of what was started. */
static const char *fetch(const Exchange *memory) {
  if (memory->output_bytes > 0) {
    const uint64_t at = memory->address + memory->input_bytes;
    if (driver.copy_out(memory->outputs, at, memory->output_bytes, driver.stream) != 0) return "outputs could not be copied";
  }
  return driver.synchronize(driver.stream) == 0 ? NULL : "a run failed on the card";
}

/**
 * Runs once, and records the same run once more. Both on this thread, since the session keeps handles by thread. One
 * call at a time.
 * @param options of a run that does not wait for its end
 * @param address of the card's memory: what the run reads of the processor's is copied there, and what it leaves behind
 *        that from there
 * @return null, or what is wrong: then nothing was recorded, and what was computed is not to be trusted
 */
EXPORT const char *lorikeet_record(OrtApi api, void *session, void *options, void *binding, void **executable,
                                   uint64_t address, const void *inputs, size_t input_bytes, void *outputs,
                                   size_t output_bytes) {
  const Exchange memory = {address, inputs, input_bytes, outputs, output_bytes};
  void *graph = NULL;
  if (driver.use_context(driver.context) != 0) return "the card's context cannot be used";
  const char *wrong = send(&memory);
  if (wrong != NULL) return wrong;
  wrong = run_session(api, session, options, binding);
  if (wrong != NULL) return wrong;
  wrong = fetch(&memory);
  if (wrong != NULL) return wrong;
  if (driver.begin_capture(driver.stream, RELAXED) != 0) return "recording could not begin";
  wrong = run_session(api, session, options, binding);
  int code = driver.end_capture(driver.stream, &graph);
  if (wrong != NULL) return wrong;
  if (code != 0 || graph == NULL) return "the run does something that cannot be recorded";
  // Work that ran on another stream is in no graph.
  size_t nodes = 0;
  if (driver.nodes(graph, NULL, &nodes) != 0 || nodes == 0) {
    driver.destroy_graph(graph);
    return "nothing of the run was recorded";
  }
  code = driver.instantiate(executable, graph, 0);
  driver.destroy_graph(graph);
  return code == 0 ? NULL : "the recorded run cannot be made ready";
}

/** Replays a recorded run and waits for its end. Returns null, or what is wrong. */
EXPORT const char *lorikeet_replay(void *executable, uint64_t address, const void *inputs, size_t input_bytes,
                                   void *outputs, size_t output_bytes) {
  const Exchange memory = {address, inputs, input_bytes, outputs, output_bytes};
  if (driver.use_context(driver.context) != 0) return "the card's context cannot be used";
  const char *wrong = send(&memory);
  if (wrong != NULL) return wrong;
  if (driver.launch_graph(executable, driver.stream) != 0) return "a recorded run could not be started";
  return fetch(&memory);
}

EXPORT void lorikeet_forget(void *executable) { driver.destroy_executable(executable); }
