// A stand-in for the CUDA runtime and cuBLAS: device memory is host memory, kernels do nothing, calls are counted.
//
// What a call leaves undone answers zeros, so a truth read from a device is false and a count is 0. FAKECUDA_DEVICES
// and FAKECUDA_MEMORY (bytes a card) describe the machine; from the moment the file FAKECUDA_POISON exists every call
// fails, as after a sticky error. Names of calls that keep the program waiting begin with WAIT; the hook is told those.
#include <cuda_runtime_api.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#undef cudaGetDeviceProperties

namespace {

struct Stream {
  int device;
  bool capturing;
  long nodes;
};
struct Block {
  size_t bytes;
  int device;
};
using Hook = void (*)(const char*, long);

std::recursive_mutex mutex;
using Guard = std::lock_guard<std::recursive_mutex>;
Hook hook = nullptr;
int captures = 0;  // streams that record just now
thread_local int current = 0;
thread_local cudaError_t last = cudaSuccess;

// Never destroyed: torch frees memory while the process ends.
std::map<std::string, long>& counts() { static auto* made = new std::map<std::string, long>; return *made; }
std::map<const char*, Block>& device_blocks() { static auto* made = new std::map<const char*, Block>; return *made; }
std::map<const char*, size_t>& pinned_blocks() { static auto* made = new std::map<const char*, size_t>; return *made; }
long used[64];

long setting(const char* name, long otherwise) {
  const char* value = getenv(name);
  return value ? atol(value) : otherwise;
}
// Those of the machine, or as many as CUDA_VISIBLE_DEVICES names: numbers or UUIDs, up to the first wrong one.
int devices() {
  int there = static_cast<int>(setting("FAKECUDA_DEVICES", 2)), seen = 0;
  const char* names = getenv("CUDA_VISIBLE_DEVICES");
  if (!names) return there;
  while (*names) {
    bool uuid = !strncmp(names, "GPU-", 4);
    if (!uuid && (*names < '0' || *names > '9' || atoi(names) >= there)) break;
    ++seen;
    names += strcspn(names, ",");
    names += *names == ',';
  }
  return seen;
}
long memory() { return setting("FAKECUDA_MEMORY", 80L << 30); }

bool poisoned() {
  struct stat found;
  const char* file = getenv("FAKECUDA_POISON");
  return file && stat(file, &found) == 0;
}

cudaError_t answer(cudaError_t error) {
  if (error) last = error;
  return error;
}
void tell(const char* name) {
  { Guard guard(mutex); ++counts()[name]; }
  if (hook && !strncmp(name, "WAIT", 4)) hook(name, 1);
}
Stream* real(cudaStream_t stream) {  // the default streams are small numbers
  return reinterpret_cast<uintptr_t>(stream) > 16 ? reinterpret_cast<Stream*>(stream) : nullptr;
}
// Work given to a stream: refused after a sticky error, recorded while the stream records, told of where it is wrong.
cudaError_t work(const char* name, cudaStream_t stream) {
  if (poisoned()) return answer(cudaErrorIllegalAddress);
  Stream* own = real(stream);
  if (own && own->device != current) tell("work on a stream of another device");
  if (own && own->capturing) {
    ++own->nodes;
  } else if (!own && captures) {
    tell("work on the default stream while capturing");
    return answer(cudaErrorStreamCaptureImplicit);
  }
  tell(name);
  return cudaSuccess;
}
cudaError_t wait(const char* name) {
  if (poisoned()) return answer(cudaErrorIllegalAddress);
  tell(name);
  return captures ? answer(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}
template <class Blocks, class Value>
const char* holding(Blocks& blocks, const void* pointer, Value size) {
  auto found = blocks.upper_bound(static_cast<const char*>(pointer));
  if (found == blocks.begin()) return nullptr;
  --found;
  return static_cast<const char*>(pointer) < found->first + size(found->second) ? found->first : nullptr;
}
const char* on_device(const void* p) { return holding(device_blocks(), p, [](Block& b) { return b.bytes; }); }
const char* pinned(const void* p) { return holding(pinned_blocks(), p, [](size_t b) { return b; }); }

const char* copy_name(const void* from, size_t bytes, cudaMemcpyKind kind) {
  constexpr size_t kStaged = 64 << 10;  // the driver keeps copies of up to so many bytes itself and does not wait
  if (kind == cudaMemcpyDeviceToHost) return "copy to host";
  if (kind != cudaMemcpyHostToDevice) return "copy on device";
  Guard guard(mutex);
  return pinned(from) || bytes <= kStaged ? "copy to device" : "WAIT pageable copy to device";
}

}  // namespace

extern "C" {

void standin_hook(Hook given) { hook = given; }
void standin_reset() { Guard guard(mutex); counts().clear(); }
long standin_count(const char* name) { Guard guard(mutex); return counts()[name]; }
long standin_used(int device) { return used[device]; }

// ---- devices
cudaError_t cudaGetDeviceCount(int* number) { *number = devices(); return cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { *device = current; return cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= devices()) return answer(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { *version = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { *version = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
  if (device < 0 || device >= devices()) return answer(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "Stand-in GPU");
  p->totalGlobalMem = memory();
  p->major = static_cast<int>(setting("FAKECUDA_CAPABILITY", 90)) / 10;
  p->minor = static_cast<int>(setting("FAKECUDA_CAPABILITY", 90)) % 10;
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 227 << 10;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->multiProcessorCount = 132;
  p->maxThreadsPerMultiProcessor = 2048;
  p->l2CacheSize = 50 << 20;
  p->unifiedAddressing = 1;
  p->maxBlocksPerMultiProcessor = 32;
  p->textureAlignment = 512;
  p->memoryBusWidth = 5120;
  p->pciBusID = device + 1;
  p->uuid.bytes[0] = static_cast<char>(device + 1);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = static_cast<int>(setting("FAKECUDA_CAPABILITY", 90)) / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = static_cast<int>(setting("FAKECUDA_CAPABILITY", 90)) % 10; break;
    case cudaDevAttrMultiProcessorCount: *value = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 227 << 10; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = 48 << 10; break;
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
    case cudaDevAttrWarpSize: *value = 32; break;
    default: *value = 1;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) { *least = 0; *greatest = -5; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { *can = 0; return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  snprintf(id, length, "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureImplicit: return "operation would make the legacy stream depend on a capturing stream";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    default: return "an error of the stand-in";
  }
}
cudaError_t cudaGetLastError() { cudaError_t found = last; last = cudaSuccess; return found; }
cudaError_t cudaPeekAtLastError() { return last; }

// ---- memory
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = memory();
  *free = memory() - used[current];
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  if (poisoned()) return answer(cudaErrorIllegalAddress);
  tell("malloc");
  Guard guard(mutex);
  if (static_cast<long>(bytes) + used[current] > memory()) return answer(cudaErrorMemoryAllocation);
  // The system gives it page by page, when it is touched: 80 GB of a card are no memory of this machine.
  *pointer = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (*pointer == MAP_FAILED) return answer(cudaErrorMemoryAllocation);
  device_blocks()[static_cast<char*>(*pointer)] = {bytes, current};
  used[current] += static_cast<long>(bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  Guard guard(mutex);
  auto found = device_blocks().find(static_cast<char*>(pointer));
  if (found == device_blocks().end()) return cudaSuccess;
  used[found->second.device] -= static_cast<long>(found->second.bytes);
  munmap(pointer, found->second.bytes);
  device_blocks().erase(found);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }
cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  *pointer = calloc(1, bytes ? bytes : 1);
  tell("pinned memory");
  Guard guard(mutex);
  pinned_blocks()[static_cast<char*>(*pointer)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, 0); }
cudaError_t cudaFreeHost(void* pointer) {
  Guard guard(mutex);
  if (pinned_blocks().erase(static_cast<char*>(pointer))) free(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
  memset(found, 0, sizeof *found);
  Guard guard(mutex);
  found->type = on_device(pointer) ? cudaMemoryTypeDevice : pinned(pointer) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  if (const char* block = on_device(pointer)) found->device = device_blocks()[block].device;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  cudaError_t error = work(copy_name(from, bytes, kind), stream);
  if (!error) memcpy(to, from, bytes);
  // A single number that no kernel made is whatever lay there before: it is read as 0.
  if (!error && kind == cudaMemcpyDeviceToHost && bytes <= 8) memset(to, 0, bytes);
  return error;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  cudaError_t error = wait("WAIT copy");
  if (!error) memcpy(to, from, bytes);
  return error;
}
cudaError_t cudaMemcpy2DAsync(void*, size_t, const void*, size_t, size_t, size_t, cudaMemcpyKind, cudaStream_t stream) {
  return work("copy on device", stream);
}
cudaError_t cudaMemset(void* pointer, int value, size_t bytes) { memset(pointer, value, bytes); return cudaSuccess; }
cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  cudaError_t error = work("memset", stream);
  if (!error) memset(pointer, value, bytes);
  return error;
}
cudaError_t cudaGetSymbolAddress(void** pointer, const void*) { *pointer = calloc(1, 1 << 20); return cudaSuccess; }
cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) { return cudaSuccess; }

// ---- streams, events, waiting
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  *stream = reinterpret_cast<cudaStream_t>(new Stream{current, false, 0});
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) { *priority = 0; return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t) { return poisoned() ? answer(cudaErrorIllegalAddress) : cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return wait("WAIT stream"); }
cudaError_t cudaDeviceSynchronize() { return wait("WAIT device"); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return wait("WAIT event"); }
cudaError_t cudaEventQuery(cudaEvent_t) { return poisoned() ? answer(cudaErrorIllegalAddress) : cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = static_cast<cudaEvent_t>(calloc(1, 8));
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { *ms = 1; return cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventRecordWithFlags(cudaEvent_t, cudaStream_t, unsigned) { return cudaSuccess; }
cudaError_t cudaLaunchHostFunc(cudaStream_t, cudaHostFn_t, void*) { return cudaSuccess; }

// ---- graphs
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  Guard guard(mutex);
  real(stream)->capturing = true;
  real(stream)->nodes = 0;
  ++captures;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  Guard guard(mutex);
  real(stream)->capturing = false;
  --captures;
  *graph = reinterpret_cast<cudaGraph_t>(new long(real(stream)->nodes));
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = real(stream) && real(stream)->capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t*, const cudaGraphNode_t**, const cudaGraphEdgeData**, size_t* number) {
  if (id) *id = 1;
  if (number) *number = 0;
  return cudaStreamIsCapturing(stream, status);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
  *made = reinterpret_cast<cudaGraphExec_t>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(made, graph, flags);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t stream) { return work("graph launch", stream); }
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* number) {
  *number = *reinterpret_cast<long*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }

// ---- kernels
cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t s) { return work("launch", s); }
cudaError_t __cudaLaunchKernel(void*, dim3, dim3, void**, size_t, cudaStream_t s) { return work("launch", s); }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void*, void**) { return work("launch", c->stream); }
cudaError_t __cudaGetKernel(void** kernel, const void* function) { *kernel = const_cast<void*>(function); return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
  memset(found, 0, sizeof *found);
  found->maxThreadsPerBlock = 1024;
  found->numRegs = 32;
  found->binaryVersion = found->ptxVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void*, int, size_t) { *n = 2; return cudaSuccess; }
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void*, int, size_t, unsigned) {
  *n = 2;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** found, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *found = nullptr;
  if (result) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

// ---- cuBLAS, as far as torch calls it; a product is one launch on the stream of its handle
int cublasCreate_v2(void** handle) { *handle = calloc(1, 64); return 0; }
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void** handle, void* stream) { *handle = stream; return 0; }
int cublasSetWorkspace_v2(void*, void*, size_t) { return 0; }
int cublasSetMathMode(void*, int) { return 0; }
int cublasGetMathMode(void*, int* mode) { *mode = 0; return 0; }
int cublasSetPointerMode_v2(void*, int) { return 0; }
int cublasGetPointerMode_v2(void*, int* mode) { *mode = 0; return 0; }
int cublasSetSmCountTarget(void*, int) { return 0; }
#define PRODUCT(name) \
  int name(void** handle) { return work("launch", static_cast<cudaStream_t>(*handle)) ? 14 : 0; }
PRODUCT(cublasSgemm_v2) PRODUCT(cublasGemmEx) PRODUCT(cublasSgemmEx) PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemmStridedBatched) PRODUCT(cublasSgemv_v2) PRODUCT(cublasDgemm_v2) PRODUCT(cublasSdot_v2)
PRODUCT(cublasDotEx) PRODUCT(cublasDgemv_v2)
int cublasLtMatmul(void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*, void*,
                   size_t, void* stream) {
  return work("launch", static_cast<cudaStream_t>(stream)) ? 14 : 0;
}
int cublasLtMatmulDescCreate(void** made, int, int) { *made = calloc(1, 64); return 0; }
int cublasLtMatmulDescDestroy(void*) { return 0; }
int cublasLtMatmulDescSetAttribute() { return 0; }
int cublasLtMatrixLayoutCreate(void** made) { *made = calloc(1, 64); return 0; }
int cublasLtMatrixLayoutDestroy(void*) { return 0; }
int cublasLtMatrixLayoutSetAttribute() { return 0; }
int cublasLtMatmulPreferenceCreate(void** made) { *made = calloc(1, 64); return 0; }
int cublasLtMatmulPreferenceDestroy(void*) { return 0; }
int cublasLtMatmulPreferenceSetAttribute() { return 0; }
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void* found, int* number) {
  memset(found, 0, 64);
  *number = 1;
  return 0;
}

}  // extern "C"
