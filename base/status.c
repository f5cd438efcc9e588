// base/status.c -- names, texts and reactions of the statuses.
//
// Shape: value. One switch per question, all three made from OMEN_STATUS_LIST, so that a status added to
// the list cannot be forgotten here and a number used twice does not compile.
#include "base/status.h"

const char *
status_text(omen_status status)
{
    switch (status) {
#define OMEN_STATUS_CASE(name, number, act, text)                                                  \
    case number:                                                                                   \
        return text;
        OMEN_STATUS_LIST(OMEN_STATUS_CASE)
#undef OMEN_STATUS_CASE
    default:
        return "unknown status";
    }
}

// "OMEN_OK" loses OMEN_, "OMEN_E_BUSY" loses OMEN_E_.
#define STATUS_NAME_TAIL(name) (#name[5] == 'E' && #name[6] == '_' ? &#name[7] : &#name[5])

const char *
status_name(omen_status status)
{
    switch (status) {
#define OMEN_STATUS_CASE(name, number, act, text)                                                  \
    case number:                                                                                   \
        return STATUS_NAME_TAIL(name);
        OMEN_STATUS_LIST(OMEN_STATUS_CASE)
#undef OMEN_STATUS_CASE
    default:
        return "UNKNOWN";
    }
}

enum status_act
status_act(omen_status status)
{
    switch (status) {
#define OMEN_STATUS_CASE(name, number, act, text)                                                  \
    case number:                                                                                   \
        return act;
        OMEN_STATUS_LIST(OMEN_STATUS_CASE)
#undef OMEN_STATUS_CASE
    default:
        return ACT_REPORT;
    }
}
