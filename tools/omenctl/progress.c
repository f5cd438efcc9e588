// tools/omenctl/progress.c -- a bar on a terminal, nothing elsewhere.
//
// Shape: shell.
#include "tools/omenctl/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/os_clock.h"

#define BAR_WIDTH 30
#define REDRAW_NS 100000000u // a tenth of a second

void
progress_init(struct progress *progress, const struct call *call, const char *what)
{
    const char *terminal = getenv("TERM");
    const bool draws = !call->quiet && isatty(fileno(call->talk)) && terminal != NULL &&
                       strcmp(terminal, "dumb") != 0;
    *progress = (struct progress){
        .out = draws ? call->talk : NULL, .what = what, .started_ns = os_clock_ns()};
}

void
progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    const uint64_t now_ns = os_clock_ns();
    char bar[BAR_WIDTH + 1];
    if (progress->out == NULL || total == 0 || now_ns - progress->drawn_ns < REDRAW_NS)
        return;
    progress->drawn_ns = now_ns;
    const double share = (double)done / (double)total;
    const double seconds = (double)(now_ns - progress->started_ns) / 1e9;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = (double)i < share * BAR_WIDTH ? '#' : '.';
    bar[BAR_WIDTH] = '\0';
    fprintf(progress->out, "\r%s [%s] %3.0f %%  %" PRIu64 " of %" PRIu64 "  %.0f/s ",
            progress->what, bar, share * 100.0, done, total,
            seconds > 0 ? (double)done / seconds : 0.0);
    fflush(progress->out);
}

void
progress_end(struct progress *progress)
{
    if (progress->out != NULL && progress->drawn_ns != 0)
        fprintf(progress->out, "\r\x1b[K");
    progress->out = NULL;
}
