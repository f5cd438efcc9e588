// tools/omenctl/sample.h -- what a node's metrics say of how busy it is, and what two of them say of the time between.
//
// Shape: value. Reads foreign text and believes none of it.
//
// The text is Prometheus' format (docs/OPERATING.md has the names). Requests of system.* are left out: whoever looks makes some.
#ifndef OMEN_TOOLS_OMENCTL_SAMPLE_H
#define OMEN_TOOLS_OMENCTL_SAMPLE_H
#include <stddef.h>
#include <stdint.h>

#define SAMPLE_BUCKETS_MAX 64u

struct sample {
    double requests, failed; // since the process began
    double in_flight;        // requests now
    double copies;           // that are open on this node
    // The most entries that a copy here has yet to apply, or a copy elsewhere to get from here.
    double lag;
    double memory_bytes; // resident
    double uptime_seconds;
    uint32_t bucket_count; // of how long requests took; counts are cumulative, as in the text
    struct {
        double seconds, count;
    } buckets[SAMPLE_BUCKETS_MAX];
};
// What the text does not say stays 0.
void sample_read(const char *text, size_t bytes, struct sample *out);

struct sample_rates {
    double qps, failed_per_second;
    double p50_ms, p99_ms; // negative: there was no request
};
// Of the time between two looks at one process. One that has begun anew in between is taken from its beginning.
void sample_rates_of(const struct sample *before, const struct sample *after, double seconds,
                     struct sample_rates *out);

#endif
