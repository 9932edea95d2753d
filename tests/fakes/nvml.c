/* A stand-in for NVIDIA's libnvidia-ml.so.1. Its values and faults come from the text file named by QUARTERDECK_FAKE_NVML,
 * read again at each call; nvml_library.py describes the lines. Without the file it shows two GPUs whose values move. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { VERSION_MISMATCH = 25, MAX_GPUS = 16, MAX_MIG = 7 };

/* A whole GPU, or one MIG instance of it: 1 is the first. */
typedef struct { unsigned index, instance; } gpu_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
typedef struct { unsigned version; int sensor; int temperature; } temperature_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_t;

static gpu_t gpus[MAX_GPUS], instances[MAX_GPUS][MAX_MIG];
static int initialized;

static const char *const names[] = {"NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3060"};
static const double memory_totals[] = {25757220864.0, 12884901888.0};
static const double power_limits[] = {450000, 170000};

static const char *script(void) {
    const char *path = getenv("QUARTERDECK_FAKE_NVML");
    return path && *path ? path : NULL;
}

/* Finds `key=value`; the last line wins, as in a file that is appended to. */
static int find(const char *key, char *value, size_t size) {
    const char *path = script();
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[2048];
    size_t length = strlen(key);
    int found = 0;
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) || line[length] != '=') continue;
        line[strcspn(line, "\r\n")] = 0;
        snprintf(value, size, "%s", line + length + 1);
        found = 1;
    }
    fclose(file);
    return found;
}

static int find_of(const gpu_t *gpu, const char *key, char *value, size_t size) {
    char full[160];
    if (gpu->instance) snprintf(full, sizeof full, "gpu.%u.mig.%u.%s", gpu->index, gpu->instance - 1, key);
    else snprintf(full, sizeof full, "gpu.%u.%s", gpu->index, key);
    return find(full, value, size);
}

static double number(const char *key, double otherwise) {
    char value[2048];
    return find(key, value, sizeof value) ? atof(value) : otherwise;
}

static double number_of(const gpu_t *gpu, const char *key, double otherwise) {
    char value[2048];
    return find_of(gpu, key, value, sizeof value) ? atof(value) : otherwise;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Between low and high in `wave` seconds; each GPU and each value is at another point of the wave. */
static double moving(const gpu_t *gpu, const char *key, double low, double high, double phase) {
    double period = number("wave", script() ? 0 : 20);
    double swing = period > 0 ? sin(6.283185307 * now() / period + phase + 1.7 * gpu->index) : 0;
    double middle = number_of(gpu, key, (low + high) / 2);
    return middle + swing * fmin(fmin(middle - low, high - middle), (high - low) / 2);
}

static void note(const char *function) {
    char path[512];
    FILE *file;
    if (!find("calls", path, sizeof path) || !(file = fopen(path, "a"))) return;
    fprintf(file, "%s\n", function);
    fclose(file);
}

/* Notes the call, waits as long as the script says (it may change its mind), and gives the scripted return code. */
static int enter(const char *function, const gpu_t *gpu) {
    struct timespec slice = {0, 10000000};
    double began = now();
    char key[160];
    note(function);
    snprintf(key, sizeof key, "delay.%s", function);
    while ((now() - began) * 1000 < number(key, 0)) nanosleep(&slice, NULL);
    if (gpu) {
        snprintf(key, sizeof key, "fail.%u.%s", gpu->index, function);
        int code = (int)number(key, 0);
        snprintf(key, sizeof key, "fail.%u", gpu->index);
        if (!code) code = (int)number(key, 0);
        if (code) return code;
    }
    snprintf(key, sizeof key, "fail.%s", function);
    int code = (int)number(key, 0);
    if (code) return code;
    return initialized || !strncmp(function, "nvmlInit", 8) ? SUCCESS : UNINITIALIZED;
}

#define ENTER(gpu) do { int code = enter(__func__, gpu); if (code) return code; } while (0)

static int put(char *to, unsigned size, const char *text) {
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; ENTER(NULL); initialized++; return SUCCESS; }
int nvmlInit_v2(void) { ENTER(NULL); initialized++; return SUCCESS; }
int nvmlInit(void) { ENTER(NULL); initialized++; return SUCCESS; }
int nvmlShutdown(void) { ENTER(NULL); initialized--; return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case 3: return "Not Supported";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    char value[512] = "570.86.15";
    ENTER(NULL);
    find("driver", value, sizeof value);
    return put(version, size, value);
}

int nvmlSystemGetNVMLVersion(char *version, unsigned size) { ENTER(NULL); return put(version, size, "12.570.86.15"); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { ENTER(NULL); *version = 12080; return SUCCESS; }
int nvmlSystemGetCudaDriverVersion(int *version) { ENTER(NULL); *version = 12080; return SUCCESS; }

static unsigned count(void) { return (unsigned)fmin(number("gpus", 2), MAX_GPUS); }

int nvmlDeviceGetCount_v2(unsigned *number_of_gpus) { ENTER(NULL); *number_of_gpus = count(); return SUCCESS; }
int nvmlDeviceGetCount(unsigned *number_of_gpus) { ENTER(NULL); *number_of_gpus = count(); return SUCCESS; }

static int handle(unsigned index, gpu_t **gpu) {
    if (index >= count()) return INVALID_ARGUMENT;
    gpus[index] = (gpu_t){index, 0};
    *gpu = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **gpu) {
    gpu_t asked = {index, 0};
    ENTER(&asked);
    return handle(index, gpu);
}

int nvmlDeviceGetHandleByIndex(unsigned index, gpu_t **gpu) {
    gpu_t asked = {index, 0};
    ENTER(&asked);
    return handle(index, gpu);
}

int nvmlDeviceGetIndex(gpu_t *gpu, unsigned *index) { ENTER(gpu); *index = gpu->index; return SUCCESS; }

int nvmlDeviceGetName(gpu_t *gpu, char *name, unsigned size) {
    char value[512];
    ENTER(gpu);
    if (!find_of(gpu, "name", value, sizeof value)) strcpy(value, names[gpu->index % 2]);
    return put(name, size, value);
}

int nvmlDeviceGetUUID(gpu_t *gpu, char *uuid, unsigned size) {
    char value[512];
    ENTER(gpu);
    if (!find_of(gpu, "uuid", value, sizeof value))
        snprintf(value, sizeof value, "GPU-5d1f2a3b-0000-4c00-8000-%012u", gpu->index);
    return put(uuid, size, value);
}

int nvmlDeviceGetPciInfo_v3(gpu_t *gpu, pci_t *pci) {
    char value[512];
    ENTER(gpu);
    memset(pci, 0, sizeof *pci);
    if (!find_of(gpu, "bus_id", value, sizeof value))
        snprintf(value, sizeof value, "00000000:%02X:00.0", gpu->index + 1);
    pci->bus = gpu->index + 1;
    snprintf(pci->bus_id, sizeof pci->bus_id, "%.31s", value);
    snprintf(pci->bus_id_legacy, sizeof pci->bus_id_legacy, "%.15s", strlen(value) > 12 ? value + 4 : value);
    return SUCCESS;
}

static double total_of(const gpu_t *gpu) { return number_of(gpu, "memory_total", memory_totals[gpu->index % 2]); }

static double used_of(const gpu_t *gpu) {
    double total = total_of(gpu);
    return moving(gpu, "memory_used", script() ? 0 : 0.3 * total, total, 2);
}

int nvmlDeviceGetMemoryInfo(gpu_t *gpu, memory_t *memory) {
    ENTER(gpu);
    memory->total = (unsigned long long)total_of(gpu);
    memory->used = (unsigned long long)used_of(gpu);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(gpu_t *gpu, memory_v2_t *memory) {
    ENTER(gpu);
    if (memory->version != (sizeof *memory | 2u << 24)) return VERSION_MISMATCH;
    memory->total = (unsigned long long)total_of(gpu);
    memory->reserved = 0;
    memory->used = (unsigned long long)used_of(gpu);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(gpu_t *gpu, utilization_t *utilization) {
    ENTER(gpu);
    utilization->gpu = (unsigned)moving(gpu, "utilization", 0, 100, 0);
    utilization->memory = utilization->gpu / 2;
    return SUCCESS;
}

int nvmlDeviceGetTemperatureV(gpu_t *gpu, temperature_t *temperature) {
    ENTER(gpu);
    if (temperature->version != (sizeof *temperature | 1u << 24)) return VERSION_MISMATCH;
    temperature->temperature = (int)moving(gpu, "temperature", 35, 84, 1);
    return SUCCESS;
}

int nvmlDeviceGetTemperature(gpu_t *gpu, int sensor, unsigned *celsius) {
    (void)sensor;
    ENTER(gpu);
    *celsius = (unsigned)moving(gpu, "temperature", 35, 84, 1);
    return SUCCESS;
}

static double limit_of(const gpu_t *gpu) { return number_of(gpu, "power_limit", power_limits[gpu->index % 2]); }

int nvmlDeviceGetPowerUsage(gpu_t *gpu, unsigned *milliwatts) {
    ENTER(gpu);
    *milliwatts = (unsigned)moving(gpu, "power", 20000, limit_of(gpu), 0.3);
    return SUCCESS;
}

int nvmlDeviceGetEnforcedPowerLimit(gpu_t *gpu, unsigned *milliwatts) {
    ENTER(gpu);
    *milliwatts = (unsigned)limit_of(gpu);
    return SUCCESS;
}

int nvmlDeviceGetPowerManagementLimit(gpu_t *gpu, unsigned *milliwatts) {
    ENTER(gpu);
    *milliwatts = (unsigned)limit_of(gpu);
    return SUCCESS;
}

/* `processes=PID:BYTES:KINDS,...`: `self` and `parent` are pids too, bytes may be `na`, the kinds are C, G or both. */
static int list(gpu_t *gpu, char kind, unsigned *count, process_t *to) {
    char value[2048] = "";
    unsigned room = *count, found = 0;
    if (!find_of(gpu, "processes", value, sizeof value) && !script() && !gpu->index)
        strcpy(value, "self:6442450944:C,parent:314572800:G");
    for (char *rest = value, *entry; (entry = strtok_r(rest, ",", &rest));) {
        char pid[32], bytes[32], kinds[8] = "C";
        if (sscanf(entry, "%31[^:]:%31[^:]:%7s", pid, bytes, kinds) < 2 || !strchr(kinds, kind)) continue;
        if (to && found < room) {
            to[found].pid = !strcmp(pid, "self") ? (unsigned)getpid() : !strcmp(pid, "parent") ? (unsigned)getppid() : (unsigned)atoi(pid);
            to[found].used = !strcmp(bytes, "na") ? ~0ULL : strtoull(bytes, NULL, 10);
            to[found].gpu_instance = to[found].compute_instance = gpu->instance ? gpu->instance - 1 : ~0u;
        }
        found++;
    }
    *count = found;
    return !found || (to && found <= room) ? SUCCESS : INSUFFICIENT_SIZE;
}

#define PROCESS_LIST(name, kind) int name(gpu_t *gpu, unsigned *count, process_t *to) { ENTER(gpu); return list(gpu, kind, count, to); }
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v3, 'C')
PROCESS_LIST(nvmlDeviceGetComputeRunningProcesses_v2, 'C')
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v3, 'G')
PROCESS_LIST(nvmlDeviceGetGraphicsRunningProcesses_v2, 'G')

int nvmlDeviceGetMigMode(gpu_t *gpu, unsigned *current, unsigned *pending) {
    ENTER(gpu);
    if (number_of(gpu, "mig", -1) < 0) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(gpu_t *gpu, unsigned *most) { ENTER(gpu); *most = MAX_MIG; return SUCCESS; }

int nvmlDeviceGetMigDeviceHandleByIndex(gpu_t *gpu, unsigned place, gpu_t **instance) {
    ENTER(gpu);
    if (place >= number_of(gpu, "mig", 0)) return NOT_FOUND;
    instances[gpu->index][place] = (gpu_t){gpu->index, place + 1};
    *instance = &instances[gpu->index][place];
    return SUCCESS;
}
