/* Stands in for libedgetpu in tests: the C entry points of edgetpu_c.h and of a TFLite external delegate, no Edge TPU behind
   them. STAND_IN says what happens: ok, none (no device), busy (delegate refused), segv_list, segv_delegate, hang. */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct edgetpu_device { int type; const char *path; };
static struct edgetpu_device usb = {1, "/sys/bus/usb/devices/2-1"};

static int is(const char *what) {
  const char *wanted = getenv("STAND_IN");
  return wanted && !strcmp(wanted, what);
}

const char *edgetpu_version(void) { return "BuildLabel(STAND-IN), RuntimeVersion(14)"; }

struct edgetpu_device *edgetpu_list_devices(size_t *count) {
  if (is("segv_list")) raise(SIGSEGV);
  if (is("hang")) sleep(60);
  *count = is("none") ? 0 : 1;
  return *count ? &usb : NULL;
}

void edgetpu_free_devices(struct edgetpu_device *devices) { (void)devices; }

struct delegate {
  void *data;
  int (*prepare)(void *context, struct delegate *self);
  void *from_buffer, *to_buffer, *free_buffer;
  int64_t flags;
  void *opaque;
};

static int prepare(void *context, struct delegate *self) { (void)context; (void)self; return 0; } /* takes no operator */

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t n, void (*report)(const char *)) {
  (void)keys; (void)values; (void)n;
  if (is("segv_delegate")) raise(SIGSEGV);
  if (is("busy")) {
    if (report) report("Failed to open the device: it is in use");
    return NULL;
  }
  struct delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}

void tflite_plugin_destroy_delegate(struct delegate *made) { free(made); }
