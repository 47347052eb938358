/* The classifier of DPDK, rte_acl, on the rules and packets of `t1edge bench`; edge/bench/peers.py compiles and drives it.
 *
 * acl PROCESSOR RULES KEYS        PROCESSOR is where it runs.
 *
 * RULES holds `struct rule`, the first of the file having the highest priority; KEYS holds `struct key`, the keys that
 * native/packet.pxd defines.  Both are turned into what rte_acl takes before anything is timed.  One line on stdout says
 * that it is ready, then each line of stdin is answered by one of stdout:
 *
 *   run FIRST COUNT   classifies that many keys: clocks of the time stamp counter that this took
 *   save PATH         writes, for every key, the number of the rule found last, 0xffffffff for none: "saved"
 *
 * Algorithm and burst are those of the combinations that this processor can do that take the fewest clocks. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_acl.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_vect.h>
#include <rte_version.h>

#define NO_RULE 0xffffffffu
#define MAX_BURST 256
#define SAMPLE 65536

struct rule {
    uint32_t source, destination;
    uint32_t number;
    uint16_t source_port[2], destination_port[2];
    uint8_t source_length, destination_length, protocol, protocol_mask;
};

struct key {
    uint64_t meta, source, destination, source_high, destination_high;
};

/* As on the wire: network byte order.  Fields behind the first are read four bytes at a time. */
struct packet {
    uint8_t protocol, unused[3];
    uint32_t source, destination;
    uint16_t source_port, destination_port;
};

enum { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };

static const struct rte_acl_field_def fields[FIELDS] = {
    { RTE_ACL_FIELD_TYPE_BITMASK, 1, PROTOCOL, 0, offsetof(struct packet, protocol) },
    { RTE_ACL_FIELD_TYPE_MASK, 4, SOURCE, 1, offsetof(struct packet, source) },
    { RTE_ACL_FIELD_TYPE_MASK, 4, DESTINATION, 2, offsetof(struct packet, destination) },
    { RTE_ACL_FIELD_TYPE_RANGE, 2, SOURCE_PORT, 3, offsetof(struct packet, source_port) },
    { RTE_ACL_FIELD_TYPE_RANGE, 2, DESTINATION_PORT, 3, offsetof(struct packet, destination_port) },
};

RTE_ACL_RULE_DEF(acl_rule, FIELDS);

static const struct { const char *name; enum rte_acl_classify_alg number; } algorithms[] = {
    { "AVX512X32", RTE_ACL_CLASSIFY_AVX512X32 },
    { "AVX512X16", RTE_ACL_CLASSIFY_AVX512X16 },
    { "AVX2", RTE_ACL_CLASSIFY_AVX2 },
    { "SSE", RTE_ACL_CLASSIFY_SSE },
    { "NEON", RTE_ACL_CLASSIFY_NEON },
    { "SCALAR", RTE_ACL_CLASSIFY_SCALAR },
};

static const uint32_t bursts[] = { 32, 64, 128, 256 };

static void die(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, code ? rte_strerror(abs(code)) : "failed");
    exit(1);
}

static void *load(const char *path, size_t size, size_t *count)
{
    FILE *file = fopen(path, "rb");
    void *all;
    long bytes;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) < 0) die(path, 0);
    rewind(file);
    *count = (size_t)bytes / size;
    all = malloc((size_t)bytes + 1);
    if (all == NULL || fread(all, size, *count, file) != *count) die(path, 0);
    fclose(file);
    return all;
}

static struct rte_acl_ctx *fill(const struct rule *rules, size_t count)
{
    struct rte_acl_param parameters = {
        .name = "t1edge", .socket_id = SOCKET_ID_ANY, .rule_size = RTE_ACL_RULE_SZ(FIELDS),
        .max_rule_num = (uint32_t)count,
    };
    struct rte_acl_ctx *context = rte_acl_create(&parameters);
    if (context == NULL) die("rte_acl_create", rte_errno);
    for (size_t i = 0; i < count; i++) {
        const struct rule *from = &rules[i];
        struct acl_rule rule;
        int code;
        memset(&rule, 0, sizeof(rule));
        rule.data.category_mask = 1;
        rule.data.priority = (int32_t)(count - i);  /* the highest number wins */
        rule.data.userdata = from->number + 1;      /* 0 says that no rule matches */
        rule.field[PROTOCOL].value.u8 = from->protocol;
        rule.field[PROTOCOL].mask_range.u8 = from->protocol_mask;
        rule.field[SOURCE].value.u32 = from->source;
        rule.field[SOURCE].mask_range.u32 = from->source_length;
        rule.field[DESTINATION].value.u32 = from->destination;
        rule.field[DESTINATION].mask_range.u32 = from->destination_length;
        rule.field[SOURCE_PORT].value.u16 = from->source_port[0];
        rule.field[SOURCE_PORT].mask_range.u16 = from->source_port[1];
        rule.field[DESTINATION_PORT].value.u16 = from->destination_port[0];
        rule.field[DESTINATION_PORT].mask_range.u16 = from->destination_port[1];
        code = rte_acl_add_rules(context, (const struct rte_acl_rule *)&rule, 1);
        if (code != 0) die("rte_acl_add_rules", code);
    }
    return context;
}

static uint64_t build(struct rte_acl_ctx *context)
{
    struct rte_acl_config config = { .num_categories = 1, .num_fields = FIELDS };
    uint64_t start;
    int code;
    memcpy(config.defs, fields, sizeof(fields));
    start = rte_rdtsc_precise();
    code = rte_acl_build(context, &config);
    if (code != 0) die("rte_acl_build", code);
    return rte_rdtsc_precise() - start;
}

static uint64_t run(const struct rte_acl_ctx *context, const uint8_t **at, uint32_t *found, size_t count, uint32_t burst)
{
    uint64_t start = rte_rdtsc_precise();
    for (size_t i = 0; i < count; i += burst)
        rte_acl_classify(context, at + i, found + i, (uint32_t)RTE_MIN(count - i, (size_t)burst), 1);
    return rte_rdtsc_precise() - start;
}

/* The burst that takes the fewest clocks with the algorithm that does; the context uses that one from now on. */
static uint32_t choose(
    struct rte_acl_ctx *context, const uint8_t **at, uint32_t *found, size_t count, const char **algorithm)
{
    uint64_t least = UINT64_MAX;
    uint32_t best = bursts[0];
    size_t chosen = RTE_DIM(algorithms);
    for (size_t i = 0; i < RTE_DIM(algorithms); i++) {
        if (rte_acl_set_ctx_classify(context, algorithms[i].number) != 0) continue;
        for (size_t j = 0; j < RTE_DIM(bursts) * 3; j++) {
            uint64_t clocks = run(context, at, found, count, bursts[j % RTE_DIM(bursts)]);
            if (clocks < least) {
                least = clocks;
                best = bursts[j % RTE_DIM(bursts)];
                chosen = i;
            }
        }
    }
    if (chosen == RTE_DIM(algorithms)) die("no algorithm", 0);
    rte_acl_set_ctx_classify(context, algorithms[chosen].number);
    *algorithm = algorithms[chosen].name;
    return best;
}

static void save(const char *path, const uint32_t *found, size_t count)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) die(path, 0);
    for (size_t i = 0; i < count; i++) {
        uint32_t number = found[i] == 0 ? NO_RULE : found[i] - 1;
        if (fwrite(&number, sizeof(number), 1, file) != 1) die(path, 0);
    }
    if (fclose(file) != 0) die(path, 0);
}

static void serve(const struct rte_acl_ctx *context, const uint8_t **at, uint32_t *found, size_t count, uint32_t burst)
{
    char line[4096];
    size_t first, many;
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "run %zu %zu", &first, &many) == 2 && first <= count && many <= count - first) {
            printf("%" PRIu64 "\n", run(context, at + first, found + first, many, burst));
        } else if (strncmp(line, "save ", 5) == 0) {
            save(line + 5, found, count);
            puts("saved");
        } else {
            die(line, 0);
        }
        fflush(stdout);
    }
}

int main(int count, char **arguments)
{
    /* Logical core 0 on that processor: numbers of logical cores end at RTE_MAX_LCORE, those of processors do not. */
    char core[32];
    char *eal[] = {
        arguments[0], "--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "4096", "--lcores", core,
        "--force-max-simd-bitwidth=512", "--log-level=error",
    };
    size_t rule_count, key_count;
    if (count != 4) die("usage: acl PROCESSOR RULES KEYS", 0);
    if (snprintf(core, sizeof(core), "0@%s", arguments[1]) >= (int)sizeof(core)) die(arguments[1], 0);
    int code = rte_eal_init(RTE_DIM(eal), eal);
    if (code < 0) die("rte_eal_init", rte_errno);
    struct rule *rules = load(arguments[2], sizeof(struct rule), &rule_count);
    struct key *keys = load(arguments[3], sizeof(struct key), &key_count);
    struct packet *packets = calloc(key_count, sizeof(struct packet));
    const uint8_t **at = calloc(key_count, sizeof(*at));
    uint32_t *found = calloc(key_count, sizeof(*found));
    if (packets == NULL || at == NULL || found == NULL) die("memory", 0);
    for (size_t i = 0; i < key_count; i++) {
        packets[i].protocol = (uint8_t)(keys[i].meta >> 24);
        packets[i].source = rte_cpu_to_be_32((uint32_t)keys[i].source);
        packets[i].destination = rte_cpu_to_be_32((uint32_t)keys[i].destination);
        packets[i].source_port = rte_cpu_to_be_16((uint16_t)(keys[i].meta >> 48));
        packets[i].destination_port = rte_cpu_to_be_16((uint16_t)(keys[i].meta >> 32));
        at[i] = (const uint8_t *)&packets[i];
    }
    struct rte_acl_ctx *context = fill(rules, rule_count);
    uint64_t clocks = build(context);
    const char *algorithm;
    uint32_t burst = choose(context, at, found, RTE_MIN(key_count, (size_t)SAMPLE), &algorithm);
    printf("ready %s %" PRIu32 " %" PRIu64 " %s\n", algorithm, burst, clocks, rte_version());
    fflush(stdout);
    serve(context, at, found, key_count, burst);
    return 0;
}
