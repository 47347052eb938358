/* First match: the tables that a lookup reads.  How they hang together is told in classify.pxd. */
#ifndef T1_CLASSIFY_H
#define T1_CLASSIFY_H

#include <stddef.h>
#include <stdint.h>

#define T1_NONE 0xffffffffu
#define T1_VERIFY 0x80000000u   /* in an entry's position: what the entry says is necessary, not sufficient */
#define T1_BLOCK 16u            /* entries that are compared at once */
#define T1_STEP 16u             /* words of wide bits at once: a thousand rules without a branch that is hard to predict */
#define T1_TOP 32u              /* bounds that are compared without looking into memory */
#define T1_LEVELS 7             /* of 16 bounds each: 16^7 are as many as the rules of a table can have */
#define T1_RANK 4               /* positions are counted in groups of 1 << T1_RANK */

typedef struct {                /* what an interval of one side's addresses leads to */
    uint32_t bucket;            /* of the entries, in units of 16 words */
    uint32_t count;
    uint32_t wide;              /* row of Side.wide */
    uint32_t member;            /* row of Side.member */
} t1_place;

typedef struct {                /* up to 64 words of a row of bits */
    uint64_t present;           /* which of them are not zero */
    uint64_t start;             /* where these are, one behind the other */
} t1_words;

typedef struct {                /* what a class of destination ports leads to */
    uint32_t bucket;            /* of t1_family.at_ports, in units of 16 words */
    uint32_t count;
} t1_bucket;

typedef struct {                /* the sources or the destinations of one family */
    uint32_t starts;            /* where intervals begin; the first, which begins at 0, is not among them */
    uint64_t *start_hi;         /* IPv6 */
    uint64_t *start_lo;
    uint32_t *bounds;           /* IPv4: where intervals begin, filled up to T1_TOP << below_top with 0xffffffff */
    uint32_t *top;              /* T1_TOP of them, in equal steps */
    uint32_t below_top;
    uint32_t levels;            /* how often 16 are compared */
    uint32_t *level[T1_LEVELS]; /* the bounds, every 16th of them, every 256th, ... */
    t1_place *places;           /* by interval, or by number of what many intervals lead to alike */
    uint16_t *place_of;         /* by interval: that number; NULL: the interval's own */
    uint32_t *entries;          /* blocks: n first intervals of the other side, n last ones, n columns, n positions */
    uint32_t buckets;           /* is there any entry? */
    uint64_t *wide;             /* the wide rules that an interval is in: rows of T1_STEP words, or those that are not zero */
    t1_words *packed;           /* rows of t1_family.groups */
    uint64_t *member;           /* rows of member_words: the sets of several ranges that it is in */
    uint32_t member_words;
} t1_side;

typedef struct {                /* of one rule, to verify what an entry cannot say */
    uint32_t source;            /* bits of t1_side.member, T1_NONE: there is nothing to ask */
    uint32_t destination;
    uint32_t service_list;      /* T1_NONE: any */
} t1_detail;

typedef struct {
    t1_side side[2];            /* source, destination */
    t1_bucket *ports;           /* by class of destination ports; NULL: no rule stands there */
    uint32_t *at_ports;         /* blocks: as t1_side.entries, with intervals of sources, then with such of destinations */
    uint32_t wide_words;        /* 0: there is no wide rule */
    uint32_t groups;            /* of 64 words; 0: up to T1_STEP words, which are all there */
    uint32_t *wide_position;    /* by bit */
    uint32_t *wide_before;      /* by position >> T1_RANK: behind how many words there is none of the wide rules up to it */
    t1_detail *details;         /* by position */
    uint16_t protocol[256];     /* class of services */
} t1_family;

typedef struct {
    uint8_t protocol;
    uint8_t families;           /* bit 0 IPv4, bit 1 IPv6: ICMP belongs to one of them */
    int16_t icmp_type;          /* -1: any */
    int16_t icmp_code;
    uint16_t sport_first;
    uint16_t sport_last;
    uint16_t dport_first;
    uint16_t dport_last;
} t1_service;

typedef struct {                /* how the cell of a protocol is found */
    uint32_t base;
    uint32_t by_sport;
    uint32_t by_dport;
    uint32_t by_type;
    uint32_t by_code;
} t1_strides;

typedef struct {                /* classes of ports: between two bounds all are alike */
    uint32_t classes;
    uint16_t *table;            /* by port; NULL: there is one class */
    uint16_t *bounds;           /* where they begin, filled up to a multiple of 32 */
    uint16_t *every32;          /* every 32nd of up to 1024, where vectors are wide: a single packet is compared */
} t1_ports;

typedef struct t1_rules t1_rules;

struct t1_rules {
    t1_family family[2];
    uint32_t *number;           /* by position: the caller's number; NULL where that is the position */
    uint32_t *service_offset;   /* of lists of services */
    t1_service *services;
    t1_ports sports;
    t1_ports dports;
    uint8_t type_class[256];
    uint8_t code_class[256];
    t1_strides *strides;        /* by class of protocol */
    uint32_t *cells;            /* row of what is asked for, in units of four rows if there are directions */
    uint32_t column_words;      /* of 32 bits */
    uint32_t by_port;           /* rules stand in buckets of destination ports */
    uint32_t *columns;          /* rows: which columns (a list of services and a direction) admit it */
    uint64_t *wide_columns[2];  /* the same, of the wide rules of a family */
    t1_words *packed_columns[2];
    uint32_t direction_bits;    /* 3 where rules have directions, else 0 */
    uint32_t direction_shift;   /* 2, else 0 */
    uint32_t inexact;           /* columns are necessary, not sufficient */
    uint32_t empty;             /* no rule at all */
    uint32_t wide_vectors;      /* `one` and `many` are those of AVX-512 */
    const uint64_t *dead;       /* a bit by position: not to be found; read only by the lookup that leaves rules out */
    /* The first match among the rules for a key of native/packet.pxd, read as five words; T1_NONE: there is none. */
    uint32_t (*one)(const t1_rules *rules, const uint64_t *key, uint32_t icmp, uint32_t direction);
    void (*many)(const t1_rules *rules, const uint64_t *keys, const uint16_t *icmp, uint32_t direction, size_t count,
                 uint32_t *found);
};

#endif
