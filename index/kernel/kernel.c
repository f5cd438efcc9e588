// index/kernel/kernel.c -- which table this processor runs.
//
// Shape: value. The choice is made once; OMEN_KERNEL is for tests and for telling a wrong kernel from a wrong idea.
#include "index/kernel/kernel.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

// __builtin_cpu_supports knows f16c in gcc only. That the system keeps the registers, avx2 has shown.
static int
has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

uint32_t
kernels_list(const struct kernels *list[4])
{
    uint32_t count = 0;
    list[count++] = &kernels_scalar;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2") && has_f16c())
        list[count++] = &kernels_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni"))
        list[count++] = &kernels_avx512;
#elif defined(__aarch64__)
    if ((getauxval(AT_HWCAP) & (1ul << 20)) != 0) // HWCAP_ASIMDDP
        list[count++] = &kernels_neon;
#endif
    return count;
}

const struct kernels *
kernels_find(const char *name)
{
    const struct kernels *list[4];
    const uint32_t count = kernels_list(list);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i]->name, name) == 0)
            return list[i];
    return NULL;
}

const struct kernels *
kernels_best(void)
{
    static const struct kernels *_Atomic chosen;
    const struct kernels *best = chosen;
    if (best != NULL)
        return best;
    const char *name = getenv("OMEN_KERNEL");
    if (name != NULL)
        best = kernels_find(name);
    if (best == NULL) {
        const struct kernels *list[4];
        best = list[kernels_list(list) - 1];
    }
    chosen = best; // threads that race here all store the same table
    return best;
}
