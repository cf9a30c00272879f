// What a card that is not there is asked to do, a line each, in this process's file of the folder REHEARSAL_LOG.
#pragma once

/** Such as `launch NAME`, `copy in 64`, `wait`. One file of a process, shared by all these libraries. */
void rehearsal_log(const char *format, ...);

/** The stream that is being recorded; null: none. What is launched on another one meanwhile is logged as `elsewhere`. */
extern void *rehearsal_recorded;
/** Launches on it so far. */
extern unsigned long rehearsal_nodes;
void rehearsal_launch(const char *name, void *stream);

/** A function that has nothing to do here. C does not look at what it is called with. */
#define NOTHING(name) \
  int name(void) { return 0; }
