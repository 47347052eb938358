/* What gcc's -fsanitize-coverage=trace-pc calls at every block of code: counts the steps from block to block that
   happened for the first time.  Preloaded, because the instrumented modules look for it when they are loaded. */
#include <stdint.h>

uint32_t t1_steps_found;
static uint8_t seen[1 << 20];
static __thread uint64_t before;

void __sanitizer_cov_trace_pc(void) {
    uint64_t here = (uint64_t)(uintptr_t)__builtin_return_address(0);
    uint64_t step = ((here ^ before) * 0x9E3779B97F4A7C15u) >> 44;
    before = here << 1;
    if (!seen[step]) {
        seen[step] = 1;
        t1_steps_found++;
    }
}
