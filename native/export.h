// How a function is made visible to programs that load the library.
#ifndef EXPORT_H
#define EXPORT_H

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#endif
