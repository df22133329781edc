/* Preloaded: writes and syncs of a database's files fail with EIO while the file $EIO_WHILE exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd) {
  const char *trigger = getenv("EIO_WHILE");
  char link[64], path[4096];
  ssize_t size;
  if (trigger == NULL || access(trigger, F_OK) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return strstr(path, "outlast.db") != NULL && strstr(path, ".lock") == NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_OR(call) do { if (fails(fd)) { errno = EIO; return -1; } return call; } while (0)

ssize_t write(int fd, const void *data, size_t size) { FAIL_OR(REAL(write)(fd, data, size)); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
  FAIL_OR(REAL(pwrite)(fd, data, size, at));
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
  FAIL_OR(REAL(pwrite64)(fd, data, size, at));
}
int fsync(int fd) { FAIL_OR(REAL(fsync)(fd)); }
int fdatasync(int fd) { FAIL_OR(REAL(fdatasync)(fd)); }
