/* Stands in for libedgetpu in tests: the C entry points of edgetpu_c.h and of a TFLite external delegate, no Edge TPU behind
   them. STAND_IN says what happens: ok, none (no device), late (none at the first look), two (the first of two is in use),
   busy (every device is), segv_list, segv_delegate, segv_load (as the model is loaded), refuse (the model is, with the words
   in STAND_IN_WORDS), hang. Its runtime version is STAND_IN_RUNTIME, 14 if that is not set. Where STAND_IN_FILE is set, the
   file of that name says what happens, so that it may change while a process runs. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct edgetpu_device { int type; const char *path; };
static struct edgetpu_device usb[] = {{1, "/sys/bus/usb/devices/2-1"}, {1, "/sys/bus/usb/devices/2-2"}};

static int is(const char *what) {
  const char *wanted = getenv("STAND_IN"), *name = getenv("STAND_IN_FILE");
  static char line[80];
  FILE *file = name ? fopen(name, "r") : NULL;
  if (file) {
    wanted = fgets(line, sizeof line, file);
    fclose(file);
  }
  return wanted && !strncmp(wanted, what, strlen(what)) && strlen(what) == strcspn(wanted, "\n");
}

const char *edgetpu_version(void) {
  static char line[80];
  const char *runtime = getenv("STAND_IN_RUNTIME");
  snprintf(line, sizeof line, "BuildLabel(COMPILER=STAND-IN,DATE=redacted), RuntimeVersion(%s)", runtime ? runtime : "14");
  return line;
}

struct edgetpu_device *edgetpu_list_devices(size_t *count) {
  if (is("segv_list")) raise(SIGSEGV);
  if (is("hang")) sleep(60);
  static int looks;
  *count = is("none") || (is("late") && !looks++) ? 0 : is("two") ? 2 : 1;
  return *count ? usb : NULL;
}

void edgetpu_free_devices(struct edgetpu_device *devices) { (void)devices; }

/* The first fields of TfLiteContext and TfLiteDelegate (tensorflow/lite/core/c/common.h). */
struct context { size_t tensors_size; void *get_plan, *tensors, *impl, *resize; void (*report)(struct context *, const char *, ...); };
struct delegate {
  void *data;
  int (*prepare)(struct context *context, struct delegate *self);
  void *from_buffer, *to_buffer, *free_buffer;
  int64_t flags;
  void *opaque;
};

static int prepare(struct context *context, struct delegate *self) { /* takes no operator */
  (void)self;
  if (is("segv_load")) raise(SIGSEGV);
  if (!is("refuse")) return 0;
  context->report(context, "%s", getenv("STAND_IN_WORDS"));
  return 1;
}

struct delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t n, void (*report)(const char *)) {
  int first = n == 1 && !strcmp(keys[0], "device") && !strcmp(values[0], ":0");
  if (is("segv_delegate")) raise(SIGSEGV);
  if (is("busy") || (is("two") && first)) {
    if (report) report("Failed to open the device: it is in use");
    return NULL;
  }
  struct delegate *made = calloc(1, sizeof *made);
  made->prepare = prepare;
  return made;
}

void tflite_plugin_destroy_delegate(struct delegate *made) { free(made); }
