// Sends rows of pools from the processor's memory, by one copy and one launch that puts each row in its place; and
// copies rows on the card.
#include "cuda.h"
#include "export.h"
#include <string.h>

enum { THREADS = 256, ELEMENTS_OF_BLOCK = 2048, ALIGNMENT = 16 };

/** In the order of `SendRows` in native/cuda/send-rows.cu. */
typedef struct {
  const void *from;
  const void *to;
  int64_t elements;
} Job;

/**
 * @param places addresses of 16-bit numbers on the card
 * @param data half floats, [count, elements]
 * @return null, or what is wrong; waits for the end
 */
EXPORT const char *lorikeet_send(const uint64_t *places, size_t count, const void *data, size_t elements) {
  const size_t bytes = sizeof(uint16_t) * count * elements;
  // Addresses come first; the rows behind them begin where eight numbers can be loaded at once.
  const size_t listed = sizeof *places * count, list = (listed + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (count == 0 || elements == 0) return NULL;
  if (driver.use_context(driver.context) != 0) return "the card's context cannot be used";
  char *space = workspace(driver.stream, SENDING, list + bytes);
  if (space == NULL) return "the card has no memory left for what is sent";
  const uint64_t at = (uint64_t)(uintptr_t)space;
  if (driver.copy_in(at, places, listed, driver.stream) != 0) return "addresses could not be copied to the card";
  if (driver.copy_in(at + list, data, bytes, driver.stream) != 0) return "rows could not be copied to the card";
  Job job = {.from = space + list, .to = space, .elements = (int64_t)elements};
  const size_t blocks = count * ((elements + ELEMENTS_OF_BLOCK - 1) / ELEMENTS_OF_BLOCK);
  const char *wrong = launch(SEND_ROWS, driver.stream, (unsigned)blocks, THREADS, 0, &job);
  if (wrong != NULL) return wrong;
  return driver.synchronize(driver.stream) == 0 ? NULL : "rows did not arrive on the card";
}

/**
 * @param from addresses on the card, as many as in `to`; no two places overlap
 * @return null, or what is wrong; work that is queued afterwards finds the copies
 */
EXPORT const char *lorikeet_copy(const uint64_t *from, const uint64_t *to, size_t count, size_t bytes) {
  if (driver.use_context(driver.context) != 0) return "the card's context cannot be used";
  for (size_t i = 0; i < count; i++) {
    if (driver.copy_within(to[i], from[i], bytes, driver.stream) != 0) return "rows could not be copied on the card";
  }
  return NULL;
}
