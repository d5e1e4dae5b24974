// What the parts of the victim share.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// at and size are where the shadow memory is, or will be.
extern char *at;
extern unsigned long size;

// trigger makes the call at which the tracer maps, and tells whether anything but the
// mapping has changed by it.
long trigger(const char *path);

// helper starts a thread that the tracer does not know of. It obeys commands on
// standard input and says "done" after each.
void helper(void);
extern int kept;

void show(const char *name, long result);
void attacks(void);
void descriptor(void);
int registers(void);
void race(const char *a, const char *b, const char *until);
