// What the standard library orders, told to the sanitizer of threads, for `.ci/long sanitize thread`.
//
// The standard library comes compiled, and without that sanitizer. Most of what it orders is inlined into us, and seen. Not seen is
// what these functions do, which stay calls into it: a lock that somebody else has, waits, the ends of threads of a scope. And fences
// the sanitizer knows not at all. Nothing here hides a report: each function says one edge, that of the function's documentation,
// between callers that name the same mutex, barrier, scope or count. The linker puts them around the real ones (`--wrap`).
// The names, which have a hash of the library in them, come from the script.

#include <stdbool.h>
#include <stdint.h>

void __tsan_acquire(void *at);
void __tsan_release(void *at);

#define PASTE(a, b) a##b
#define JOINED(a, b) PASTE(a, b)
#define WRAP(name) JOINED(__wrap_, name)
#define REAL(name) JOINED(__real_, name)

// `Mutex::lock`, when the mutex is taken: what the holders before did comes before what this one does.
void REAL(MUTEX_LOCK_CONTENDED)(void *mutex);
void WRAP(MUTEX_LOCK_CONTENDED)(void *mutex) {
    REAL(MUTEX_LOCK_CONTENDED)(mutex);
    __tsan_acquire(mutex);
}

// `Condvar::wait` gives the mutex up and takes it again.
void REAL(CONDVAR_WAIT)(void *condvar, void *mutex);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex) {
    __tsan_release(mutex);
    REAL(CONDVAR_WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}

// `Condvar::wait_timeout` as well; a `Duration` is seconds and nanoseconds.
bool REAL(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t secs, uint32_t nanos);
bool WRAP(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t secs, uint32_t nanos) {
    __tsan_release(mutex);
    bool in_time = REAL(CONDVAR_WAIT_TIMEOUT)(condvar, mutex, secs, nanos);
    __tsan_acquire(mutex);
    return in_time;
}

// The end of a thread of a scope: what it did comes before what comes behind the scope, whose look at the count of threads is seen.
// That count is one of the three words of the scope's; the others are not looked at with an order.
void REAL(SCOPE_DECREMENT)(void *scope, bool panicked);
void WRAP(SCOPE_DECREMENT)(void *scope, bool panicked) {
    for (int word = 0; word < 3; word++) {
        __tsan_release((uint64_t *)scope + word);
    }
    REAL(SCOPE_DECREMENT)(scope, panicked);
}

// `Barrier::wait`: what any did before comes before what any does behind it.
bool REAL(BARRIER_WAIT)(void *barrier);
bool WRAP(BARRIER_WAIT)(void *barrier) {
    __tsan_release(barrier);
    bool leads = REAL(BARRIER_WAIT)(barrier);
    __tsan_acquire(barrier);
    return leads;
}

// The end of an `Arc`: whoever takes the last count looks behind a fence at what all wrote that gave one back. Only a count that this
// thread has brought to nothing is remembered, for its next fence: so no other fence orders anything.
static __thread void *ended;

int64_t REAL(__tsan_atomic64_fetch_sub)(volatile int64_t *count, int64_t less, int order);
int64_t WRAP(__tsan_atomic64_fetch_sub)(volatile int64_t *count, int64_t less, int order) {
    int64_t before = REAL(__tsan_atomic64_fetch_sub)(count, less, order);
    ended = before == less && order == __ATOMIC_RELEASE ? (void *)count : 0;
    return before;
}

void REAL(__tsan_atomic_thread_fence)(int order);
void WRAP(__tsan_atomic_thread_fence)(int order) {
    REAL(__tsan_atomic_thread_fence)(order);
    if (ended && order == __ATOMIC_ACQUIRE) {
        __tsan_acquire(ended);
    }
    ended = 0;
}
