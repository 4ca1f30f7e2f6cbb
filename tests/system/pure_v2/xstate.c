// Lets User Mode Linux write a process's registers back on CPUs with AMX: preloaded.
//
// It keeps 2,696 bytes of them, as a CPU without AMX has, and Linux takes a whole state or none
// (xstateregs_set: count != fpu_user_cfg.max_size is EFAULT). What it does not keep is left as it is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...) {
    static long (*next)(enum __ptrace_request, ...);
    if (!next) next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *what = va_arg(rest, void *), *data = va_arg(rest, void *);
    va_end(rest);
    if (request != PTRACE_SETREGSET || (long)what != NT_X86_XSTATE) return next(request, pid, what, data);
    static char whole[65536] __attribute__((aligned(64)));
    const struct iovec *kept = data;
    struct iovec all = {whole, sizeof whole};
    if (next(PTRACE_GETREGSET, pid, what, &all) || kept->iov_len > all.iov_len)
        return next(request, pid, what, data);
    memcpy(whole, kept->iov_base, kept->iov_len);
    return next(request, pid, what, &all);
}
