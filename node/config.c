// node/config.c -- what an operator says to omend: command line, environment, a YAML file.
//
// Shape: shell.
//
// The file is read first, then the environment, then the command line; each value is checked when it is read, also one that a later
// one replaces.
#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "node/address.h"
#include "node/config_int.h"
#include "node/reserve.h"
#include "node/turn_said.h"
#include "omendb.h"
#include "wire/rpc_server.h"

#define LISTEN_PORT 7700u
#define PEER_PORT 7701u
#define ADMIN_PORT 7780u
#define SLOW_MS 100u
#define SLOW_MS_MAX 86400000u
#define BUILD_WAIT_MS 30000u
#define BUILD_REQUIRE_MS 600000u
#define BUILD_MS_MAX 86400000u
#define LEAVE_MS 5000u
#define LEAVE_MS_MAX 600000u
#define CONNECTIONS_MAX 65536u
#define IN_FLIGHT_MAX 1024u
#define HELLO_MS_MIN 100u // as late as the port notices
#define HELLO_MS_MAX 600000u
#define IDLE_MS_MIN 1000u
#define IDLE_MS_MAX 86400000u
#define WAITING_MIB_MIN 64u // as much as one connection may leave unread
#define WAITING_MIB_MAX 1048576u
#define OTHERS 256 // getopt's values of what is not in the table

enum kind { TEXT, LIST, FLAG };

static const struct row {
    const char *name;
    enum kind kind;
    const char *argument, *help;
} rows[OPTION_COUNT] = {
#define CONFIG_ROW(id, name, kind, argument, help) [OPTION_##id] = {name, kind, argument, help},
    CONFIG_OPTIONS(CONFIG_ROW)
#undef CONFIG_ROW
};

// ---- values ----

static omen_status
set_path(char path[CONFIG_PATH_BYTES], const char *text, struct omen_error *error)
{
    const size_t count = strlen(text);
    if (count == 0 || count >= CONFIG_PATH_BYTES)
        return error_set(error, OMEN_E_INVALID, "a path has 1 to %u bytes", CONFIG_PATH_BYTES - 1);
    memcpy(path, text, count + 1);
    return OMEN_OK;
}

static omen_status
set_name(struct map_name *name, const char *text, size_t most, struct omen_error *error)
{
    if (strlen(text) <= most && map_name_set(name, text, strlen(text)))
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID,
                     "\"%s\" is no name: 1 to %zu letters, digits, '_' and '-'", text, most);
}

static omen_status
set_number(uint32_t *number, const char *text, uint32_t least, uint32_t most,
           struct omen_error *error)
{
    uint64_t value = 0;
    const char *at = text;
    while (*at >= '0' && *at <= '9' && value <= UINT32_MAX)
        value = value * 10 + (uint64_t)(*at++ - '0');
    if (at == text || *at != '\0' || value < least || value > most)
        return error_set(error, OMEN_E_INVALID, "\"%s\" is no number from %u to %u", text, least,
                         most);
    *number = (uint32_t)value;
    return OMEN_OK;
}

static omen_status
set_flag(bool *flag, const char *text, struct omen_error *error)
{
    static const char *const yes[] = {"true", "yes", "1", "on"};
    static const char *const no[] = {"false", "no", "0", "off"};
    for (uint32_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *flag = strcmp(text, yes[i]) == 0;
            return OMEN_OK;
        }
    return error_set(error, OMEN_E_INVALID, "\"%s\" is neither true nor false", text);
}

// Calls `set` for each item between commas.
static omen_status
set_list(struct config *config, const char *text,
         omen_status (*set)(struct config *, const char *, struct omen_error *),
         struct omen_error *error)
{
    char item[CONFIG_PATH_BYTES];
    for (;;) {
        const size_t count = strcspn(text, ",");
        if (count >= sizeof item)
            return error_set(error, OMEN_E_INVALID, "an item is too long");
        memcpy(item, text, count);
        item[count] = '\0';
        const omen_status status = set(config, item, error);
        if (status != OMEN_OK || text[count] == '\0')
            return status;
        text += count + 1;
    }
}

static omen_status
add_role(struct config *config, const char *text, struct omen_error *error)
{
    static const struct {
        const char *name;
        uint8_t role;
    } roles[] = {{"data", NODE_DATA}, {"router", NODE_ROUTER}, {"builder", NODE_BUILDER}};
    for (uint32_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(text, roles[i].name) == 0) {
            config->roles |= roles[i].role;
            return OMEN_OK;
        }
    return error_set(error, OMEN_E_INVALID, "\"%s\" is no role: data, router, builder", text);
}

static omen_status
add_join(struct config *config, const char *text, struct omen_error *error)
{
    if (config->join_count == CONFIG_JOIN_MAX)
        return error_set(error, OMEN_E_INVALID, "more than %u addresses", CONFIG_JOIN_MAX);
    struct gossip_address *address = &config->join[config->join_count];
    const omen_status status = address_of(text, PEER_PORT, address, error);
    if (status != OMEN_OK)
        return status;
    if (address->port == 0)
        return error_set(error, OMEN_E_INVALID, "\"%s\": port 0 is nowhere", text);
    config->join_count++;
    return OMEN_OK;
}

static omen_status
set_word(uint8_t *word, const char *text, const char *const *words, uint32_t count,
         struct omen_error *error)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(text, words[i]) == 0) {
            *word = (uint8_t)i;
            return OMEN_OK;
        }
    char all[128];
    struct text said;
    text_init(&said, all, sizeof all);
    for (uint32_t i = 0; i < count; i++)
        text_add(&said, i == 0 ? "%s" : ", %s", words[i]);
    return error_set(error, OMEN_E_INVALID, "\"%s\" is none of: %s", text, all);
}

static omen_status
set_voters(struct config *config, const char *text, struct omen_error *error)
{
    const omen_status status = set_number(&config->voters, text, 1, 7, error);
    if (status == OMEN_OK && config->voters % 2 == 0)
        return error_set(error, OMEN_E_INVALID, "\"%s\" is none of: 1, 3, 5, 7", text);
    return status;
}

static omen_status
set_log_level(struct config *config, const char *text, struct omen_error *error)
{
    if (log_level_named(text, &config->log_level))
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID, "\"%s\" is none of: error, warn, info, debug", text);
}

static omen_status
set_weight(struct config *config, const char *text, struct omen_error *error)
{
    uint32_t weight = 0;
    const omen_status status = set_number(&weight, text, 1, MAP_WEIGHT_MAX, error);
    config->weight = (uint16_t)weight;
    return status;
}

// What clients may have of the node.
static omen_status
set_limit(struct config *config, enum config_option option, const char *text,
          struct omen_error *error)
{
    struct config_limits *limits = &config->limits;
    switch (option) {
    case OPTION_CONNECTIONS:
        return set_number(&limits->connections, text, 1, CONNECTIONS_MAX, error);
    case OPTION_OF_ADDRESS:
        return set_number(&limits->connections_of_address, text, 0, CONNECTIONS_MAX, error);
    case OPTION_IN_FLIGHT:
        return set_number(&limits->in_flight, text, 1, IN_FLIGHT_MAX, error);
    case OPTION_FRAME_BYTES:
        return set_number(&limits->frame_bytes, text, WIRE_FRAME_BYTES_MIN, WIRE_FRAME_BYTES_MAX,
                          error);
    case OPTION_WAITING_MIB:
        return set_number(&limits->waiting_mib, text, WAITING_MIB_MIN, WAITING_MIB_MAX, error);
    case OPTION_HELLO_MS:
        return set_number(&limits->hello_ms, text, HELLO_MS_MIN, HELLO_MS_MAX, error);
    case OPTION_IDLE_MS:
        return set_number(&limits->idle_ms, text, IDLE_MS_MIN, IDLE_MS_MAX, error);
    case OPTION_KEY_RATE:
        return set_number(&config->key_rate, text, 0, UINT32_MAX, error);
    default:
        ASSERT(false);
    }
}

omen_status
config_set(struct config *config, enum config_option option, enum config_how how, const char *text,
           struct omen_error *error)
{
    static const char *const profiles[] = {[CONFIG_LAN] = "lan", [CONFIG_FAST] = "fast"};
    switch (option) {
    case OPTION_DATA:
        return set_path(config->data, text, error);
    case OPTION_ROLES:
        if (how == CONFIG_REPLACES)
            config->roles = 0;
        return set_list(config, text, add_role, error);
    case OPTION_LISTEN:
        return address_of(text, LISTEN_PORT, &config->listen, error);
    case OPTION_PEER:
        return address_of(text, PEER_PORT, &config->peer, error);
    case OPTION_ADMIN:
        config->admin_said = true;
        return address_of(text, ADMIN_PORT, &config->admin, error);
    case OPTION_ADVERTISE:
        return address_of(text, 0, &config->advertise, error);
    case OPTION_JOIN:
        if (how == CONFIG_REPLACES)
            config->join_count = 0;
        return set_list(config, text, add_join, error);
    case OPTION_NAME:
        return set_name(&config->name, text, TURN_SAID_NAME_MAX, error);
    case OPTION_ZONE:
        return set_name(&config->zone, text, GOSSIP_ZONE_BYTES_MAX, error);
    case OPTION_INSECURE:
        return set_flag(&config->insecure, text, error);
    case OPTION_CLUSTER_KEY:
        return set_path(config->cluster_key, text, error);
    case OPTION_PROFILE:
        return set_word(&config->profile, text, profiles, 2, error);
    case OPTION_WEIGHT:
        return set_weight(config, text, error);
    case OPTION_VOTERS:
        return set_voters(config, text, error);
    case OPTION_THREADS:
        return set_number(&config->threads, text, 1, THREADS_MAX, error);
    case OPTION_SLOW_MS:
        return set_number(&config->slow_ms, text, 0, SLOW_MS_MAX, error);
    case OPTION_DISK_RESERVE:
        return set_number(&config->disk_reserve, text, 0, RESERVE_PERCENT_MAX, error);
    case OPTION_LEAVE_MS:
        return set_number(&config->leave_ms, text, 0, LEAVE_MS_MAX, error);
    case OPTION_BUILD_WAIT_MS:
        return set_number(&config->build_wait_ms, text, 0, BUILD_MS_MAX, error);
    case OPTION_BUILD_REQUIRE_MS:
        return set_number(&config->build_require_ms, text, 0, BUILD_MS_MAX, error);
    case OPTION_CONNECTIONS:
    case OPTION_OF_ADDRESS:
    case OPTION_IN_FLIGHT:
    case OPTION_FRAME_BYTES:
    case OPTION_WAITING_MIB:
    case OPTION_HELLO_MS:
    case OPTION_IDLE_MS:
    case OPTION_KEY_RATE:
        return set_limit(config, option, text, error);
    case OPTION_LOG_LEVEL:
        return set_log_level(config, text, error);
    case OPTION_COUNT:
        break;
    }
    ASSERT(false);
}

// ---- API keys ----

static omen_status
set_hash(uint64_t words[4], const char *text, struct omen_error *error)
{
    const size_t count = strlen(text);
    if (count != 64 || strspn(text, "0123456789abcdef") != 64)
        return error_set(error, OMEN_E_INVALID,
                         "64 digits 0-9 and a-f were expected, and these are %zu characters%s",
                         count, count == 64 ? " with others among them" : "");
    for (uint32_t i = 0; i < 4; i++) {
        char word[17] = {0};
        memcpy(word, text + 16 * i, 16);
        words[i] = strtoull(word, NULL, 16);
    }
    return OMEN_OK;
}

omen_status
config_set_key(struct config_key *key, enum config_key_field field, const char *text,
               struct omen_error *error)
{
    static const char *const roles[] = {"read", "write", "manage", "admin"}; // from KEY_READ on
    uint8_t role = 0;
    omen_status status;
    switch (field) {
    case CONFIG_KEY_NAME:
        return set_name(&key->name, text, MAP_NAME_BYTES_MAX, error);
    case CONFIG_KEY_ROLE:
        status = set_word(&role, text, roles, 4, error);
        key->role = (uint8_t)(KEY_READ + role);
        return status;
    case CONFIG_KEY_SHA256:
        return set_hash(key->hash_words, text, error);
    case CONFIG_KEY_RATE:
        return set_number(&key->rate, text, 1, UINT32_MAX, error);
    case CONFIG_KEY_FIELDS:
        break;
    }
    ASSERT(false);
}

// ---- the environment ----

static void
variable_of(const char *option, char name[64])
{
    struct text text;
    text_init(&text, name, 64);
    text_add(&text, "OMEN_");
    for (; *option != '\0'; option++)
        text_add(&text, "%c", *option == '-' ? '_' : toupper((unsigned char)*option));
}

// NULL: it is not there.
static const char *
look_up(char **environment, const char *name)
{
    const size_t count = strlen(name);
    for (char **at = environment; *at != NULL; at++)
        if (strncmp(*at, name, count) == 0 && (*at)[count] == '=')
            return *at + count + 1;
    return NULL;
}

static omen_status
take_environment(struct config *config, char **environment, struct omen_error *error)
{
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        char name[64];
        variable_of(rows[i].name, name);
        const char *text = look_up(environment, name);
        if (text == NULL)
            continue;
        const omen_status status =
            config_set(config, (enum config_option)i, CONFIG_REPLACES, text, error);
        if (status != OMEN_OK)
            return error_about(error, status, name);
    }
    return OMEN_OK;
}

// ---- the command line ----

struct said {
    const char *texts[OPTION_COUNT]; // NULL: not said
    const char *file;
    bool help, version;
};

static omen_status
read_arguments(int count, char **arguments, struct said *said, struct omen_error *error)
{
    enum { CONFIG = OTHERS, HELP, VERSION };
    struct option options[OPTION_COUNT + 4] = {{0}};
    for (int i = 0; i < OPTION_COUNT; i++)
        options[i] = (struct option){
            rows[i].name, rows[i].kind == FLAG ? no_argument : required_argument, NULL, i + 1};
    options[OPTION_COUNT] = (struct option){"config", required_argument, NULL, CONFIG};
    options[OPTION_COUNT + 1] = (struct option){"help", no_argument, NULL, HELP};
    options[OPTION_COUNT + 2] = (struct option){"version", no_argument, NULL, VERSION};
    *said = (struct said){0};
    opterr = 0;
    optind = 0; // begins anew, whoever called before
    int got;
    while ((got = getopt_long(count, arguments, ":", options, NULL)) != -1) {
        if (got == ':')
            return error_set(error, OMEN_E_INVALID, "%s wants a value", arguments[optind - 1]);
        else if (got == '?')
            return error_set(error, OMEN_E_INVALID, "%s is no option; --help lists them",
                             arguments[optind - 1]);
        else if (got == CONFIG)
            said->file = optarg;
        else if (got == HELP)
            said->help = true;
        else if (got == VERSION)
            said->version = true;
        else
            said->texts[got - 1] = optarg != NULL ? optarg : "true";
    }
    if (optind < count)
        return error_set(error, OMEN_E_INVALID, "\"%s\" is no option; --help lists them",
                         arguments[optind]);
    return OMEN_OK;
}

static omen_status
take_arguments(struct config *config, const struct said *said, struct omen_error *error)
{
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        if (said->texts[i] == NULL)
            continue;
        const omen_status status =
            config_set(config, (enum config_option)i, CONFIG_REPLACES, said->texts[i], error);
        if (status == OMEN_OK)
            continue;
        char name[64];
        snprintf(name, sizeof name, "--%s", rows[i].name);
        return error_about(error, status, name);
    }
    return OMEN_OK;
}

static void
print_help(FILE *out)
{
    fprintf(out, "usage: omend --data DIR [OPTION...]\n\n"
                 "A node of an OmenDB cluster. SIGTERM ends it.\n\n");
    for (uint32_t i = 0; i < OPTION_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s%s%s", rows[i].name, rows[i].argument != NULL ? " " : "",
                 rows[i].argument != NULL ? rows[i].argument : "");
        fprintf(out, "  %-26s %s\n", name, rows[i].help);
    }
    fprintf(out, "  %-26s %s\n  %-26s %s\n  %-26s %s\n\n", "--config FILE",
            "YAML: the same names, and api-keys: a list of {name, role, sha256, rate}", "--help",
            "this text", "--version", "the version");
    fprintf(out, "Each is also an environment variable: --cluster-key is OMEN_CLUSTER_KEY. The "
                 "command line\n"
                 "goes before the environment, and that before the file.\n");
}

// ---- all of it ----

static void
set_defaults(struct config *config)
{
    *config = (struct config){.roles = NODE_ROLES_ALL,
                              .profile = CONFIG_LAN,
                              .weight = 100,
                              .voters = 3,
                              .slow_ms = SLOW_MS,
                              .disk_reserve = RESERVE_PERCENT,
                              .leave_ms = LEAVE_MS,
                              .build_wait_ms = BUILD_WAIT_MS,
                              .build_require_ms = BUILD_REQUIRE_MS,
                              .limits = {.connections = RPC_CONNECTIONS,
                                         .in_flight = RPC_IN_FLIGHT,
                                         .frame_bytes = WIRE_FRAME_BYTES_MAX,
                                         .hello_ms = RPC_HELLO_MS,
                                         .idle_ms = RPC_IDLE_MS,
                                         .waiting_mib = RPC_WAITING_MIB},
                              .log_level = LOG_LEVEL_INFO};
    config->listen.ip[10] = config->listen.ip[11] = 0xff;
    config->listen.ip[12] = 127;
    config->listen.ip[15] = 1;
    config->peer = config->listen;
    config->listen.port = LISTEN_PORT;
    config->peer.port = PEER_PORT;
}

static omen_status
check_public(const struct config *config, struct omen_error *error)
{
    const bool local = address_is_loopback(&config->listen) && address_is_loopback(&config->peer);
    if (local || config->insecure)
        return OMEN_OK;
    const char *which = address_is_loopback(&config->listen) ? "peer" : "listen";
    const bool has_key = config->cluster_key[0] != '\0', has_keys = config->key_count > 0;
    if (has_key && has_keys)
        return OMEN_OK;
    return error_set(error, OMEN_E_INVALID,
                     "%s: another address than loopback needs cluster-key, and api-keys in the "
                     "file, or insecure: %s missing",
                     which,
                     has_key    ? "api-keys are"
                     : has_keys ? "cluster-key is"
                                : "both are");
}

static omen_status
check_together(const struct config *config, struct omen_error *error)
{
    if (config->data[0] == '\0')
        return error_set(error, OMEN_E_INVALID, "data is missing: --data DIR, or OMEN_DATA");
    if (address_is_any(&config->peer) && address_is_any(&config->advertise))
        return error_set(error, OMEN_E_INVALID,
                         "peer: nobody can be told to reach this node at any address; advertise");
    for (uint32_t i = 0; i < config->join_count; i++)
        if (gossip_address_equal(&config->join[i], &config->peer))
            return error_set(error, OMEN_E_INVALID, "join: a node cannot join itself");
    if (config->listen.port != 0 && gossip_address_equal(&config->listen, &config->peer))
        return error_set(error, OMEN_E_INVALID, "listen: port %u is the one of peer already",
                         config->listen.port);
    if (config->admin_said && config->admin.port != 0 &&
        (gossip_address_equal(&config->admin, &config->peer) ||
         gossip_address_equal(&config->admin, &config->listen)))
        return error_set(error, OMEN_E_INVALID, "admin: port %u is the one of %s already",
                         config->admin.port,
                         gossip_address_equal(&config->admin, &config->peer) ? "peer" : "listen");
    return check_public(config, error);
}

static enum config_next
wrong(enum config_exit *code, enum config_exit is)
{
    *code = is;
    return CONFIG_WRONG;
}

enum config_next
config_read(int count, char **arguments, char **environment, FILE *out, struct config *config,
            enum config_exit *code, struct omen_error *error)
{
    struct said said;
    set_defaults(config);
    *code = EXIT_DONE;
    if (read_arguments(count, arguments, &said, error) != OMEN_OK)
        return wrong(code, EXIT_BAD_OPTION);
    if (said.help || said.version) {
        if (said.help)
            print_help(out);
        else
            fprintf(out, "omend %s\n", omen_version());
        return CONFIG_ENDED;
    }
    const char *file = said.file != NULL ? said.file : look_up(environment, "OMEN_CONFIG");
    if (file != NULL) {
        omen_status status = set_path(config->file, file, error);
        if (status == OMEN_OK)
            status = config_file_read(config->file, config, error);
        if (status != OMEN_OK)
            return wrong(code, status == OMEN_E_NO_MEMORY ? EXIT_NO_SYSTEM : EXIT_BAD_CONFIG);
    }
    if (take_environment(config, environment, error) != OMEN_OK)
        return wrong(code, EXIT_BAD_CONFIG);
    if (take_arguments(config, &said, error) != OMEN_OK)
        return wrong(code, EXIT_BAD_OPTION);
    if (check_together(config, error) != OMEN_OK)
        return wrong(code, EXIT_BAD_CONFIG);
    return CONFIG_RUN;
}

omen_status
config_seal_keys(const struct config *config, struct seal_keys *keys, struct omen_error *error)
{
    *keys = (struct seal_keys){0};
    if (config->cluster_key[0] == '\0')
        return OMEN_OK;
    uint8_t bytes[SEAL_KEY_FILE_BYTES_MAX + 1];
    FILE *file = fopen(config->cluster_key, "rbe");
    struct stat stat;
    if (file == NULL || fstat(fileno(file), &stat) != 0) {
        (void)error_set(error, OMEN_E_INVALID, "cluster-key: \"%s\" cannot be read: %s",
                        config->cluster_key, strerror(errno));
        if (file != NULL)
            (void)fclose(file);
        return OMEN_E_INVALID;
    }
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    if ((stat.st_mode & (S_IRWXO)) != 0)
        return error_set(error, OMEN_E_INVALID,
                         "cluster-key: \"%s\" is open to everybody (chmod o=)",
                         config->cluster_key);
    const omen_status status = seal_keys_of((struct wire_bytes){bytes, (uint32_t)count}, keys);
    memset(bytes, 0, sizeof bytes);
    if (status != OMEN_OK)
        return error_set(error, OMEN_E_INVALID, "cluster-key: \"%s\" has %zu bytes, not %u to %u",
                         config->cluster_key, count, SEAL_KEY_FILE_BYTES_MIN,
                         SEAL_KEY_FILE_BYTES_MAX);
    return OMEN_OK;
}
