// NVIDIA's driver, as far as the program asks it, with devices that are this machine's CPU: for the tests of all that is between
// the program and a driver.
//
// What is queued on a stream is done no sooner than somebody waits for the stream: memory that is touched too early shows. Every
// copy and every launch is checked against what was allocated and what was asked for, as a driver with a sanitizer would.

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "emulated_kernels.hpp"

using Result = int;
using Handle = void *;

constexpr Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NO_BINARY = 209, NOT_FOUND = 500,
                 ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719;

namespace {

std::recursive_mutex door;

// What the test sets.
struct Settings {
    int devices = 1;
    int capability = 90;
    int multiprocessors = 1;
    int shared = 227 << 10;
    size_t memory = size_t(1) << 30;
    // So many launches succeed; the next one fails so.
    long launches = -1;
    Result failure = LAUNCH_FAILED;
    bool takes_images = true;
} settings;

struct Device {
    size_t used = 0;
    long launches = 0;
};
std::vector<Device> devices;

struct Memory {
    size_t bytes;
    int device;
    std::unique_ptr<unsigned char[]> words;
};
std::map<uintptr_t, Memory> memories, pinned;

struct Stream {
    int device;
    std::deque<std::function<Result()>> queue;
    Result failed = SUCCESS;
};

struct Kernel {
    std::string entry;
    size_t args;
    uint32_t threads;
    size_t shared;
    std::function<void(const void *, uint32_t)> run;
};

// Of a device: a driver's functions are a module's, and so a context's.
struct Function {
    int device;
    const Kernel *kernel;
    size_t shared = 48 << 10;
};

const std::vector<Kernel> &kernels() {
    static const std::vector<Kernel> all = {
#define KERNEL(name, entry, Args, threads, shared, body)                                                                      \
    {#entry "_kernel", sizeof(Args), threads, shared, [](const void *args, uint32_t blocks) {                           \
         Args copy;                                                                                                    \
         std::memcpy(&copy, args, sizeof(Args));                                                                       \
         emulate(blocks, threads, shared, false, [&copy](EmulatedThread &thread) { body(thread, copy); });             \
     }},
        EMULATED_KERNELS(KERNEL)};
    return all;
}

thread_local intptr_t current = 0; // device + 1

bool within(const std::map<uintptr_t, Memory> &all, uintptr_t at, size_t bytes) {
    auto after = all.upper_bound(at);
    if (after == all.begin()) {
        return false;
    }
    const auto &[start, memory] = *std::prev(after);
    return at + bytes <= start + memory.bytes;
}

Result allocate(std::map<uintptr_t, Memory> &all, size_t bytes, int device, uintptr_t *at) {
    std::unique_ptr<unsigned char[]> words(new unsigned char[bytes]);
    std::memset(words.get(), 0xa5, bytes);
    *at = reinterpret_cast<uintptr_t>(words.get());
    all[*at] = Memory{bytes, device, std::move(words)};
    return SUCCESS;
}

Stream *stream(Handle handle) { return static_cast<Stream *>(handle); }

Result drain(Stream *of) {
    while (!of->queue.empty()) {
        const Result done = of->failed == SUCCESS ? of->queue.front()() : of->failed;
        of->queue.pop_front();
        of->failed = of->failed == SUCCESS ? done : of->failed;
    }
    return of->failed;
}

} // namespace

#define API extern "C"
#define LOCK std::lock_guard<std::recursive_mutex> lock(door)
#define CONTEXT                                                                                                        \
    if (current == 0) {                                                                                                \
        return INVALID_VALUE;                                                                                          \
    }

// For the test: a setting by its name. What was allocated before stays.
API int emulated_set(const char *name, long value) {
    LOCK;
    const std::map<std::string, std::function<void()>> known = {
        {"devices", [=] { settings.devices = int(value); }},
        {"capability", [=] { settings.capability = int(value); }},
        {"multiprocessors", [=] { settings.multiprocessors = int(value); }},
        {"shared", [=] { settings.shared = int(value); }},
        {"memory", [=] { settings.memory = size_t(value); }},
        {"launches", [=] { settings.launches = value; }},
        {"failure", [=] { settings.failure = Result(value); }},
        {"takes_images", [=] { settings.takes_images = value != 0; }},
    };
    const auto found = known.find(name);
    if (found == known.end()) {
        return 1;
    }
    found->second();
    return 0;
}
// Launches that a device has done; bytes that are allocated on it.
API long emulated_launches(int device) {
    LOCK;
    return size_t(device) < devices.size() ? devices[device].launches : 0;
}
API long emulated_used(int device) {
    LOCK;
    return size_t(device) < devices.size() ? long(devices[device].used) : 0;
}

API Result cuInit(unsigned) {
    LOCK;
    devices.resize(size_t(settings.devices));
    return settings.devices == 0 ? NO_DEVICE : SUCCESS;
}
API Result cuDriverGetVersion(int *version) {
    *version = 13000;
    return SUCCESS;
}
API Result cuDeviceGetCount(int *count) {
    *count = settings.devices;
    return SUCCESS;
}
API Result cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal < settings.devices ? SUCCESS : INVALID_VALUE;
}
API Result cuDeviceGetName(char *name, int len, int device) {
    std::snprintf(name, size_t(len), "Emulated GPU %d", device);
    return SUCCESS;
}
API Result cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = settings.memory;
    return SUCCESS;
}
API Result cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 16:
        *value = settings.multiprocessors;
        return SUCCESS;
    case 75:
        *value = settings.capability / 10;
        return SUCCESS;
    case 76:
        *value = settings.capability % 10;
        return SUCCESS;
    case 97:
        *value = settings.shared;
        return SUCCESS;
    default:
        *value = 0;
        return SUCCESS;
    }
}
API Result cuDevicePrimaryCtxSetFlags_v2(int, unsigned) { return SUCCESS; }
API Result cuDevicePrimaryCtxRetain(Handle *context, int device) {
    *context = reinterpret_cast<Handle>(intptr_t(device) + 1);
    return SUCCESS;
}
API Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API Result cuCtxGetCurrent(Handle *context) {
    *context = reinterpret_cast<Handle>(current);
    return SUCCESS;
}
API Result cuCtxSetCurrent(Handle context) {
    current = reinterpret_cast<intptr_t>(context);
    return SUCCESS;
}

API Result cuMemGetInfo_v2(size_t *free, size_t *all) {
    LOCK;
    CONTEXT;
    *all = settings.memory;
    *free = settings.memory - devices[size_t(current) - 1].used;
    return SUCCESS;
}
API Result cuMemAlloc_v2(uintptr_t *at, size_t bytes) {
    LOCK;
    CONTEXT;
    Device &device = devices[size_t(current) - 1];
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (device.used + bytes > settings.memory) {
        return OUT_OF_MEMORY;
    }
    device.used += bytes;
    return allocate(memories, bytes, int(current) - 1, at);
}
API Result cuMemFree_v2(uintptr_t at) {
    LOCK;
    CONTEXT;
    const auto found = memories.find(at);
    if (found == memories.end() || found->second.device != int(current) - 1) {
        return INVALID_VALUE;
    }
    devices[size_t(current) - 1].used -= found->second.bytes;
    memories.erase(found);
    return SUCCESS;
}
API Result cuMemHostAlloc(Handle *at, size_t bytes, unsigned) {
    LOCK;
    CONTEXT;
    return allocate(pinned, bytes, 0, reinterpret_cast<uintptr_t *>(at));
}
API Result cuMemFreeHost(Handle at) {
    LOCK;
    return pinned.erase(reinterpret_cast<uintptr_t>(at)) == 1 ? SUCCESS : INVALID_VALUE;
}

API Result cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t bytes, Handle on) {
    LOCK;
    CONTEXT;
    stream(on)->queue.push_back([=]() -> Result {
        if (!within(memories, to, bytes) || !within(pinned, reinterpret_cast<uintptr_t>(from), bytes)) {
            return ILLEGAL_ADDRESS;
        }
        std::memcpy(reinterpret_cast<void *>(to), from, bytes);
        return SUCCESS;
    });
    return SUCCESS;
}
API Result cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t bytes, Handle on) {
    LOCK;
    CONTEXT;
    stream(on)->queue.push_back([=]() -> Result {
        if (!within(memories, from, bytes) || !within(pinned, reinterpret_cast<uintptr_t>(to), bytes)) {
            return ILLEGAL_ADDRESS;
        }
        std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
        return SUCCESS;
    });
    return SUCCESS;
}
API Result cuMemsetD8Async(uintptr_t at, unsigned char value, size_t bytes, Handle on) {
    LOCK;
    CONTEXT;
    stream(on)->queue.push_back([=]() -> Result {
        if (!within(memories, at, bytes)) {
            return ILLEGAL_ADDRESS;
        }
        std::memset(reinterpret_cast<void *>(at), value, bytes);
        return SUCCESS;
    });
    return SUCCESS;
}

API Result cuStreamCreate(Handle *made, unsigned) {
    LOCK;
    CONTEXT;
    *made = new Stream{int(current) - 1, {}, SUCCESS};
    return SUCCESS;
}
API Result cuStreamSynchronize(Handle on) {
    LOCK;
    CONTEXT;
    return drain(stream(on));
}
API Result cuStreamDestroy_v2(Handle on) {
    LOCK;
    CONTEXT;
    drain(stream(on));
    delete stream(on);
    return SUCCESS;
}

API Result cuModuleLoadData(Handle *module, const void *image) {
    LOCK;
    CONTEXT;
    // The mark of a fatbin, or the text of PTX.
    uint32_t mark;
    std::memcpy(&mark, image, sizeof mark);
    const bool is_fatbin = mark == 0xba55ed50;
    const bool is_text = std::strstr(static_cast<const char *>(image), ".version") != nullptr;
    if (is_fatbin ? !settings.takes_images : !is_text) {
        return NO_BINARY;
    }
    *module = reinterpret_cast<Handle>(current);
    return SUCCESS;
}
API Result cuModuleUnload(Handle) { return SUCCESS; }
API Result cuModuleGetFunction(Handle *function, Handle module, const char *name) {
    LOCK;
    CONTEXT;
    for (const Kernel &kernel : kernels()) {
        if (kernel.entry == name) {
            // Never freed: a module's functions live as long as it, and there are few.
            *function = new Function{int(reinterpret_cast<intptr_t>(module)) - 1, &kernel};
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}
API Result cuFuncSetAttribute(Handle function, int attribute, int value) {
    LOCK;
    if (attribute != 8 || value > settings.shared) {
        return INVALID_VALUE;
    }
    static_cast<Function *>(function)->shared = size_t(value);
    return SUCCESS;
}
API Result cuLaunchKernel(Handle function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned ty, unsigned tz,
                          unsigned shared, Handle on, void **arguments, void **) {
    LOCK;
    CONTEXT;
    const Function &of = *static_cast<Function *>(function);
    const Kernel *found = nullptr;
    for (const Kernel &kernel : kernels()) {
        found = kernel.entry == of.kernel->entry && kernel.threads == threads ? &kernel : found;
    }
    if (found == nullptr) {
        return INVALID_VALUE;
    }
    const Kernel &kernel = *found;
    const bool fits = x > 0 && y == 1 && z == 1 && ty == 1 && tz == 1 &&
                      shared == kernel.shared && shared <= of.shared && of.device == int(current) - 1 &&
                      stream(on)->device == of.device;
    if (!fits) {
        return INVALID_VALUE;
    }
    if (settings.launches == 0) {
        settings.launches = -1;
        stream(on)->queue.push_back([failure = settings.failure]() -> Result { return failure; });
        return SUCCESS;
    }
    settings.launches -= settings.launches > 0;
    std::vector<unsigned char> args(kernel.args);
    std::memcpy(args.data(), arguments[0], kernel.args);
    stream(on)->queue.push_back([&kernel, args, x, device = of.device]() -> Result {
        devices[size_t(device)].launches++;
        kernel.run(args.data(), x);
        return SUCCESS;
    });
    return SUCCESS;
}

API Result cuGetErrorName(Result error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
    return SUCCESS;
}
API Result cuGetErrorString(Result, const char **text) {
    *text = "as the test asked";
    return SUCCESS;
}
