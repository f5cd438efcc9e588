// tests/unit/node/test_config.c -- file, environment and command line say the same things alike; what is wrong is named, with its place.
#include "node/config.h"

#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "node/address.h"
#include "node/turn_said.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

#define SIXTY_FOUR_DIGITS "00000000000000010000000000000002ffffffffffffffff0000000000000004"

static struct folder folder;
static struct config config;
static struct omen_error error;
static enum config_exit code;
static char path[320];
static char *nothing[] = {NULL};

static void
setup(void)
{
    folder_init(&folder);
    snprintf(path, sizeof path, "%s/omend.yaml", folder.path);
    ck_assert_int_eq(seal_init(), OMEN_OK);
}

static void
teardown(void)
{
    folder_fini(&folder);
}

static void
write_file(const char *where, const char *text, int mode)
{
    FILE *file = fopen(where, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(where, (mode_t)mode), 0);
}

// Arguments behind the program's name, ended by NULL.
#define READ(environment, ...)                                                                     \
    read_with(environment, (char *[]){(char *)"omend", __VA_ARGS__, NULL})

static enum config_next
read_with(char **environment, char **arguments)
{
    int count = 0;
    while (arguments[count] != NULL)
        count++;
    memset(&error, 0, sizeof error);
    return config_read(count, arguments, environment, stderr, &config, &code, &error);
}

static void
claim_wrong(enum config_next next, enum config_exit exit, const char *sentence)
{
    ck_assert_int_eq(next, CONFIG_WRONG);
    ck_assert_int_eq(code, exit);
    ck_assert_msg(strstr(error.text, sentence) != NULL, "\"%s\" is not in \"%s\"", sentence,
                  error.text);
}

static void
claim_address(const struct gossip_address *address, const char *text)
{
    char said[ADDRESS_TEXT_BYTES];
    address_text(address, said);
    ck_assert_str_eq(said, text);
}

START_TEST(what_is_not_said_has_a_default)
{
    ck_assert_int_eq(READ(nothing, "--data", "d"), CONFIG_RUN);
    ck_assert_str_eq(config.data, "d");
    claim_address(&config.listen, "127.0.0.1:7700");
    claim_address(&config.peer, "127.0.0.1:7701");
    ck_assert_uint_eq(config.roles, NODE_ROLES_ALL);
    ck_assert_uint_eq(config.voters, 3);
    ck_assert_uint_eq(config.weight, 100);
    ck_assert_uint_eq(config.profile, CONFIG_LAN);
    ck_assert_uint_eq(config.join_count, 0);
    ck_assert_int_eq(config.log_level, LOG_LEVEL_INFO);
    ck_assert(!config.insecure);
    ck_assert(!config.admin_said);
    ck_assert_uint_eq(config.slow_ms, 100);
    ck_assert_uint_eq(config.leave_ms, 5000);
    ck_assert_uint_eq(config.disk_reserve, 5);
    ck_assert_uint_eq(config.build_wait_ms, 30000);
    ck_assert_uint_eq(config.build_require_ms, 600000);
    ck_assert_uint_eq(config.limits.connections, 1024);
    ck_assert_uint_eq(config.limits.connections_of_address, 0);
    ck_assert_uint_eq(config.limits.in_flight, 64);
    ck_assert_uint_eq(config.limits.frame_bytes, WIRE_FRAME_BYTES_MAX);
    ck_assert_uint_eq(config.limits.waiting_mib, 1024);
    ck_assert_uint_eq(config.limits.hello_ms, 5000);
    ck_assert_uint_eq(config.limits.idle_ms, 300000);
    ck_assert_uint_eq(config.key_rate, 0);
}
END_TEST

static char *all_of_the_environment[] = {
    (char *)"OMEN_DATA=here",
    (char *)"OMEN_ROLES=data,router",
    (char *)"OMEN_LISTEN=127.0.0.1:1",
    (char *)"OMEN_PEER=[::1]:2",
    (char *)"OMEN_ADVERTISE=127.0.0.2:3",
    (char *)"OMEN_JOIN=127.0.0.3:4,127.0.0.4",
    (char *)"OMEN_NAME=n-1",
    (char *)"OMEN_ZONE=z_1",
    (char *)"OMEN_INSECURE=1",
    (char *)"OMEN_CLUSTER_KEY=k",
    (char *)"OMEN_PROFILE=fast",
    (char *)"OMEN_WEIGHT=7",
    (char *)"OMEN_METADATA_VOTERS=5",
    (char *)"OMEN_THREADS=9",
    (char *)"OMEN_ADMIN=127.0.0.5:7780",
    (char *)"OMEN_SLOW_MS=0",
    (char *)"OMEN_DISK_RESERVE=50",
    (char *)"OMEN_LEAVE_MS=600000",
    (char *)"OMEN_BUILD_WAIT_MS=0",
    (char *)"OMEN_BUILD_REQUIRE_MS=86400000",
    (char *)"OMEN_MAX_CONNECTIONS=2",
    (char *)"OMEN_MAX_CONNECTIONS_PER_ADDRESS=3",
    (char *)"OMEN_MAX_IN_FLIGHT=4",
    (char *)"OMEN_MAX_FRAME_BYTES=65536",
    (char *)"OMEN_MAX_WAITING_MIB=64",
    (char *)"OMEN_HELLO_TIMEOUT_MS=100",
    (char *)"OMEN_IDLE_TIMEOUT_MS=1000",
    (char *)"OMEN_KEY_RATE=5",
    (char *)"OMEN_LOG_LEVEL=debug",
    (char *)"OMEN_SOMETHING_ELSE=1",
    NULL,
};

START_TEST(every_option_is_read_from_all_three_places_alike)
{
    struct config by_file, by_environment;
    write_file(
        path,
        "# a comment\n"
        "data: here\nroles: [data, router]\nlisten: 127.0.0.1:1\npeer: \"[::1]:2\"\n"
        "advertise: 127.0.0.2:3\njoin:\n  - 127.0.0.3:4\n  - 127.0.0.4\nname: n-1\n"
        "zone: z_1\ninsecure: true\ncluster-key: k\nprofile: fast\nweight: 7\n"
        "metadata-voters: 5\nthreads: 9\nadmin: 127.0.0.5\nslow-ms: 0\ndisk-reserve: 50\nleave-ms: "
        "600000\nbuild-wait-ms: 0\nbuild-require-ms: 86400000\nmax-connections: 2\n"
        "max-connections-per-address: 3\nmax-in-flight: 4\nmax-frame-bytes: 65536\n"
        "max-waiting-mib: 64\nhello-timeout-ms: 100\nidle-timeout-ms: 1000\nkey-rate: "
        "5\nlog-level: debug\n",
        0644);
    ck_assert_msg(READ(nothing, "--config", path) == CONFIG_RUN, "%s", error.text);
    by_file = config;
    ck_assert_msg(read_with(all_of_the_environment, (char *[]){(char *)"omend", NULL}) ==
                      CONFIG_RUN,
                  "%s", error.text);
    by_environment = config;
    ck_assert_msg(
        READ(nothing, "--data", "here", "--roles", "data,router", "--listen", "127.0.0.1:1",
             "--peer", "[::1]:2", "--advertise", "127.0.0.2:3", "--join", "127.0.0.3:4,127.0.0.4",
             "--name", "n-1", "--zone=z_1", "--insecure", "--cluster-key", "k", "--profile", "fast",
             "--weight", "7", "--metadata-voters", "5", "--threads", "9", "--admin",
             "127.0.0.5:", "--slow-ms=0", "--disk-reserve=50", "--leave-ms=600000",
             "--build-wait-ms=0", "--build-require-ms=86400000", "--max-connections", "2",
             "--max-connections-per-address", "3", "--max-in-flight", "4", "--max-frame-bytes",
             "65536", "--max-waiting-mib", "64", "--hello-timeout-ms", "100", "--idle-timeout-ms",
             "1000", "--key-rate", "5", "--log-level", "debug") == CONFIG_RUN,
        "%s", error.text);
    ck_assert_str_eq(by_file.file, path);
    memset(by_file.file, 0, sizeof by_file.file);
    ck_assert(memcmp(&by_file, &config, sizeof config) == 0);
    ck_assert(memcmp(&by_environment, &config, sizeof config) == 0);
    claim_address(&config.peer, "[::1]:2");
    claim_address(&config.join[1], "127.0.0.4:7701");
    claim_address(&config.admin, "127.0.0.5:7780");
    ck_assert(config.admin_said);
    ck_assert_uint_eq(config.slow_ms, 0);
    ck_assert_uint_eq(config.disk_reserve, 50);
    ck_assert_uint_eq(config.leave_ms, 600000);
    ck_assert_uint_eq(config.roles, NODE_DATA | NODE_ROUTER);
    ck_assert_uint_eq(config.join_count, 2);
}
END_TEST

START_TEST(the_command_line_goes_before_the_environment_and_that_before_the_file)
{
    write_file(path, "data: file\nweight: 1\nzone: file\n", 0644);
    char variable[400];
    snprintf(variable, sizeof variable, "OMEN_CONFIG=%s", path);
    char *environment[] = {variable, (char *)"OMEN_WEIGHT=2", (char *)"OMEN_ZONE=env", NULL};
    ck_assert_int_eq(READ(environment, "--zone", "line"), CONFIG_RUN);
    ck_assert_str_eq(config.data, "file");
    ck_assert_uint_eq(config.weight, 2);
    ck_assert_uint_eq(config.zone.count, 4);
}
END_TEST

START_TEST(a_wrong_value_is_named_with_its_place)
{
    claim_wrong(READ(nothing, "--data", "d", "--weight", "0"), EXIT_BAD_OPTION,
                "--weight: \"0\" is no number from 1 to 10000");
    claim_wrong(READ(nothing, "--data", "d", "--roles", "data,cook"), EXIT_BAD_OPTION,
                "--roles: \"cook\" is no role");
    claim_wrong(READ(nothing, "--data", "d", "--listen", "127.0.0.1:65536"), EXIT_BAD_OPTION,
                "--listen: \"127.0.0.1:65536\": the port");
    claim_wrong(READ(nothing, "--data", "d", "--peer", "::1:7"), EXIT_BAD_OPTION,
                "--peer: \"::1:7\" is no HOST:PORT");
    claim_wrong(READ(nothing, "--data", "d", "--metadata-voters", "4"), EXIT_BAD_OPTION,
                "--metadata-voters: \"4\" is none of: 1, 3, 5, 7");
    claim_wrong(READ(nothing, "--data", "d", "--profile", "wan"), EXIT_BAD_OPTION,
                "--profile: \"wan\" is none of: lan, fast");
    claim_wrong(READ(nothing, "--data", "d", "--name", "a b"), EXIT_BAD_OPTION,
                "--name: \"a b\" is no name");
    char name[GOSSIP_DATA_BYTES_MAX + 1] = {0}; // gossip has room for so many
    memset(name, 'n', TURN_SAID_NAME_MAX);
    ck_assert_int_eq(READ(nothing, "--data", "d", "--name", name), CONFIG_RUN);
    name[TURN_SAID_NAME_MAX] = 'n';
    claim_wrong(READ(nothing, "--data", "d", "--name", name), EXIT_BAD_OPTION, "is no name");
    claim_wrong(READ(nothing, "--data", "d", "--join", "127.0.0.1:0"), EXIT_BAD_OPTION,
                "--join: \"127.0.0.1:0\"");
    claim_wrong(READ(nothing, "--data", "d", "--slow-ms", "soon"), EXIT_BAD_OPTION,
                "--slow-ms: \"soon\" is no number");
    claim_wrong(READ(nothing, "--data", "d", "--leave-ms", "600001"), EXIT_BAD_OPTION,
                "--leave-ms: \"600001\" is no number from 0 to 600000");
    claim_wrong(READ(nothing, "--data", "d", "--disk-reserve", "51"), EXIT_BAD_OPTION,
                "--disk-reserve: \"51\" is no number from 0 to 50");
    claim_wrong(READ(nothing, "--data", "d", "--build-wait-ms", "86400001"), EXIT_BAD_OPTION,
                "--build-wait-ms: \"86400001\" is no number from 0 to 86400000");
    claim_wrong(READ(nothing, "--data", "d", "--build-require-ms", "86400001"), EXIT_BAD_OPTION,
                "--build-require-ms: \"86400001\" is no number from 0 to 86400000");
    claim_wrong(READ(nothing, "--data", "d", "--admin", "7780:x"), EXIT_BAD_OPTION,
                "--admin: \"7780:x\" is no HOST:PORT");
    char *environment[] = {(char *)"OMEN_LOG_LEVEL=loud", NULL};
    claim_wrong(READ(environment, "--data", "d"), EXIT_BAD_CONFIG,
                "OMEN_LOG_LEVEL: \"loud\" is none of");
    write_file(path, "data: d\n\n# nothing here\nthreads: 1e9\n", 0644);
    char wanted[400];
    snprintf(wanted, sizeof wanted, "%s:4: threads: \"1e9\" is no number", path);
    claim_wrong(READ(nothing, "--config", path), EXIT_BAD_CONFIG, wanted);
}
END_TEST

START_TEST(a_limit_is_taken_at_its_bounds_and_refused_one_beyond)
{
    static const struct {
        const char *option;
        uint64_t least, most;
    } limits[] = {
        {"max-connections", 1, 65536},
        {"max-connections-per-address", 0, 65536},
        {"key-rate", 0, UINT32_MAX},
        {"max-in-flight", 1, 1024},
        {"max-frame-bytes", 65536, WIRE_FRAME_BYTES_MAX},
        {"max-waiting-mib", 64, 1048576},
        {"hello-timeout-ms", 100, 600000},
        {"idle-timeout-ms", 1000, 86400000},
    };
    for (uint32_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        const uint64_t least = limits[i].least, most = limits[i].most;
        // At the bounds, and beyond: below, above, and what 32 bits would cut.
        const uint64_t values[] = {least,    most,       least - 1,
                                   most + 1, UINT32_MAX, most + (1ull << 32)};
        for (uint32_t v = 0; v < 6; v++) {
            char option[80], wanted[160];
            if (v == 2 && least == 0)
                continue; // there is nothing below
            if (v == 4 && most == UINT32_MAX)
                continue;
            snprintf(option, sizeof option, "--%s=%llu", limits[i].option,
                     (unsigned long long)values[v]);
            snprintf(wanted, sizeof wanted, "--%s: \"%llu\" is no number from %llu to %llu",
                     limits[i].option, (unsigned long long)values[v], (unsigned long long)least,
                     (unsigned long long)most);
            if (v < 2)
                ck_assert_msg(READ(nothing, "--data", "d", option) == CONFIG_RUN, "%s", option);
            else
                claim_wrong(READ(nothing, "--data", "d", option), EXIT_BAD_OPTION, wanted);
        }
    }
}
END_TEST

START_TEST(a_key_may_have_a_rate_of_its_own)
{
    write_file(path,
               "data: d\nkey-rate: 9\napi-keys:\n"
               "- {name: a, role: read, sha256: \"" SIXTY_FOUR_DIGITS "\", rate: 1}\n"
               "- {rate: 4294967295, name: b, role: read, sha256: \"" SIXTY_FOUR_DIGITS "\"}\n"
               "- {name: c, role: read, sha256: \"" SIXTY_FOUR_DIGITS "\"}\n",
               0644);
    ck_assert_msg(READ(nothing, "--config", path) == CONFIG_RUN, "%s", error.text);
    ck_assert_uint_eq(config.key_rate, 9);
    ck_assert_uint_eq(config.keys[0].rate, 1);
    ck_assert_uint_eq(config.keys[1].rate, UINT32_MAX);
    ck_assert_uint_eq(config.keys[2].rate, 0);
}
END_TEST

START_TEST(a_wrong_option_is_named)
{
    claim_wrong(READ(nothing, "--dta", "d"), EXIT_BAD_OPTION, "--dta is no option");
    claim_wrong(READ(nothing, "--data"), EXIT_BAD_OPTION, "--data wants a value");
    claim_wrong(READ(nothing, "start"), EXIT_BAD_OPTION, "\"start\" is no option");
    claim_wrong(READ(nothing, "--zone", "z"), EXIT_BAD_CONFIG, "data is missing");
}
END_TEST

// ---- the file ----

static enum config_next
read_file(const char *text)
{
    write_file(path, text, 0644);
    return READ(nothing, "--config", path);
}

START_TEST(a_file_without_keys_says_nothing)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "# a comment\n",
                                        "# one\n\n  # two",
                                        "---\n",
                                        "--- # none\n...\n",
                                        "\xef\xbb\xbf",
                                        "{}\n"};
    for (uint32_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_file(path, texts[i], 0644);
        ck_assert_msg(READ(nothing, "--config", path, "--data", "d") == CONFIG_RUN, "%u: %s", i,
                      error.text);
        memset(config.file, 0, sizeof config.file);
        const struct config from_file = config;
        ck_assert_int_eq(READ(nothing, "--data", "d"), CONFIG_RUN);
        ck_assert(memcmp(&from_file, &config, sizeof config) == 0);
        claim_wrong(read_file(texts[i]), EXIT_BAD_CONFIG, "data is missing");
    }
}
END_TEST

START_TEST(a_list_of_the_file_may_be_a_text_with_commas_as_in_the_other_places)
{
    static const char *const texts[] = {
        "data: d\nroles: data,router\njoin: 127.0.0.3:4,127.0.0.4\n",
        "data: d\nroles: [data, router]\njoin: ['127.0.0.3:4,127.0.0.4']\n",
        "data: d\nroles:\n- data\n- router\njoin:\n  - 127.0.0.3:4\n  - \"127.0.0.4\"\n",
    };
    for (uint32_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        ck_assert_msg(read_file(texts[i]) == CONFIG_RUN, "%s", error.text);
        ck_assert_uint_eq(config.roles, NODE_DATA | NODE_ROUTER);
        ck_assert_uint_eq(config.join_count, 2);
        claim_address(&config.join[0], "127.0.0.3:4");
        claim_address(&config.join[1], "127.0.0.4:7701");
    }
    ck_assert_int_eq(read_file("data: d\nroles: router\njoin: []\n"), CONFIG_RUN);
    ck_assert_uint_eq(config.roles, NODE_ROUTER);
    ck_assert_uint_eq(config.join_count, 0);
}
END_TEST

static const struct refusal {
    const char *text;
    uint32_t line;
    const char *key, *sentence;
} refusals[] = {
    // keys
    {"data: d\nlisten: 127.0.0.1:1\nlisen: 127.0.0.1:1\n", 3, "lisen", "no such key: an option"},
    {"data: d\nzone: a\nname: n\nzone: b\n", 4, "zone", "once, and is in line 2 already"},
    {"{data: d, zone: a,\n zone: a}\n", 2, "zone", "once, and is in line 1 already"},
    {"data: d\n\"a\\nb\": 1\n", 2, "a?b", "no such key"},
    // values of the wrong shape
    {"data: d\n\nzone: [a]\n", 3, "zone", "a text was expected, not a list"},
    {"data: d\nzone:\n  - a\n", 3, "zone", "a text was expected, not a list"},
    {"data: d\npeer: [::1]:7701\n", 2, "peer", "begins with '[' is put into quotes"},
    {"data: d\nzone: {a\n", 2, "zone", "a text was expected, not keys with values"},
    {"data: &d d\nzone: *d\n", 2, "zone", "a text was expected, not an alias"},
    {"data: d\nzone: \"a\\0b\"\n", 2, "zone", "a text without zeros was expected"},
    {"data: d\njoin: {a: b}\n", 2, "join", "a text was expected, not keys with values"},
    {"data: d\njoin:\n  - 127.0.0.1:1\n  - [a]\n", 4, "join[1]", "a text was expected"},
    // values
    {"data: d\nzone:\nname: n\n", 2, "zone", "\"\" is no name"},
    {"data: d\nzone: >\n  a\n  b\nname: n\n", 2, "zone", "\"a b?\" is no name: 1 to 32 letters"},
    {"data: d\nzone:\n  a b\n", 3, "zone", "\"a b\" is no name: 1 to 32 letters"},
    {"data: d\nroles: data,cook\n", 2, "roles", "\"cook\" is no role: data, router, builder"},
    {"data: d\nroles:\n  - data\n  - cook\n", 4, "roles[1]", "\"cook\" is no role: data, router"},
    {"data: d\njoin: 127.0.0.1:0\n", 2, "join", "\"127.0.0.1:0\": port 0"},
    {"data: d\njoin:\n- 127.0.0.1:1\n\n- ::1:7\n", 5, "join[1]", "\"::1:7\" is no HOST:PORT"},
    {"data: d\nthreads: 1e9\n", 2, "threads", "\"1e9\" is no number from 1 to 256"},
    // api-keys
    {"data: d\napi-keys: ops\n", 2, "api-keys", "a list was expected, not a text"},
    {"data: d\napi-keys:\nzone: a\n", 2, "api-keys", "a list was expected, not nothing"},
    {"api-keys:\n- name: a\n  role: read\n  sha256: \"" SIXTY_FOUR_DIGITS "\"\n- ops\n", 5,
     "api-keys[1]", "name, role and sha256 were expected, not a text"},
    {"data: d\napi-keys:\n  - name: a\n    role: read\n", 3, "api-keys[0].sha256",
     "is missing: name, role and sha256 were expected"},
    {"data: d\napi-keys:\n  - name: a\n    role: cook\n    sha256: 12\n", 4, "api-keys[0].role",
     "\"cook\" is none of: read, write, manage, admin"},
    {"data: d\napi-keys:\n  - name: a\n    role: read\n    sha256: 12\n", 5, "api-keys[0].sha256",
     "64 digits 0-9 and a-f were expected, and these are 2 characters"},
    {"api-keys:\n- sha256: \"0000000000000001000000000000000200000000000000030000000000000x04\"\n",
     2, "api-keys[0].sha256", "64 characters with others among them"},
    {"data: d\napi-keys:\n  - name: a\n    name: b\n", 4, "api-keys[0].name", "in line 3 already"},
    {"data: d\napi-keys:\n  - secret: a\n", 3, "api-keys[0].secret", "no such key: name, role"},
    {"data: d\napi-keys:\n  - name: a b\n", 3, "api-keys[0].name", "\"a b\" is no name"},
    {"api-keys:\n- {name: a, role: read, sha256: \"" SIXTY_FOUR_DIGITS "\"}\n- name: a\n", 3,
     "api-keys[1].name", "\"a\" is the name of api-keys[0] already"},
    {"data: d\napi-keys:\n  - name: a\n    rate: 0\n", 4, "api-keys[0].rate",
     "\"0\" is no number from 1 to 4294967295"},
    {"data: d\napi-keys:\n  - name: a\n    rate: 4294967296\n", 4, "api-keys[0].rate",
     "\"4294967296\" is no number from 1 to 4294967295"},
    {"data: d\napi-keys:\n  - name: [a]\n", 3, "api-keys[0].name", "a text was expected"},
    // what is no YAML
    {"data: d\n\tzone: a\n", 2, "zone", "blanks were expected, not a tab"},
    {"data: d\nzone\nname: n\n", 2, "zone", "a ':' was expected behind the key"},
    {"data: d\nzone: \"a\nname: n\n", 2, "zone", "a quote was expected, at the end of the text"},
    {"data: d\nzone: 'a\n---\nname: n\n", 2, "zone", "a quote was expected"},
    {"data: d\njoin: [127.0.0.1:1,\n  127.0.0.1:2\n", 2, "join", "',' or ']' was expected"},
    {"{data: d, zone: a\n", 1, "zone", "',' or '}' was expected"},
    {"data: d\nzone: \"a\" b\n", 2, "zone", "a key was expected, right below"},
    {"data: d\nzone: a: b\n", 2, "zone", "one key in a line was expected"},
    {"data: d\n  zone: a\n", 2, "zone", "one key in a line was expected, right below"},
    {"  data: d\nzone: a\n", 2, "zone", "one document was expected"},
    {"data: d\n---\nzone: a\n", 2, "---", "one document was expected"},
    {"data: d\njoin: - a\n", 2, "join", "a list was expected to begin in a line of its own"},
    {"data: d\njoin:\n  - 127.0.0.1:1\n  b: c\n", 4, "behind join[0]", "'-' was expected"},
    {"data: d\nzone: @a\n", 2, "zone", "one that begins with '@'"},
    {"data: d\nzone: \"\\q\"\n", 2, "zone", "'\\\\' was expected for a '\\'"},
    {"data: d\nzone: [\n", 2, "zone", "a text was expected, not a list"},
    {"data: d\nzone: \"\\x7f\"\n", 2, "zone", "\"?\" is no name"},
    {"data: d\napi-keys: \"a\n", 2, "api-keys", "a quote was expected"},
    {"api-keys:\n- name: a\n  colour\n  role: read\n", 3, "behind api-keys[0].name", "a ':' was"},
    {"api-keys:\n- [a]: b\n", 2, "api-keys[0]", "a key was expected, not a list"},
    {"data: d\n\"zo\\0ne\": a\n", 2, "data", "a text without zeros was expected"},
    {"\"\"\n", 1, "", "keys were expected (data: /var/lib/omendb), not nothing"},
    {"data: d\nzone:", 2, "zone", "\"\" is no name"},
    {"{data: d,\nzone", 2, "zone", "\"\" is no name"},
    {"data: d\njoin: [", 2, "join", "one with brackets"},
    {"data: d\r\njoin: [\r\n\r\n", 2, "join", "one with brackets"},
    {"data: d\njoin: [::1]:7701\n", 2, "join", "one with brackets, ',' or ':' in it"},
    {"data: d\nzone: >a\n", 2, "zone", "YAML was expected: "},
    {"data: d\nzone: \xff\n", 2, "zone", "UTF-8 was expected: "},
    {"# caf\xe9\ndata: d\n", 1, "", "UTF-8 was expected: "},
    {"data: d\n\n# \x01\n", 3, "", "UTF-8 was expected: control characters"},
    {"data: d\napi-keys:\n  - name: a\n    role read\n    sha256: b\n", 4, "api-keys[0].role",
     "a ':' was expected"},
    {"data: d\napi-keys:\n  - name: a\n\trole: read\n", 4, "api-keys[0].role", "not a tab"},
    {"data: d\napi-keys:\n- name: a\n  role: 'read\n", 4, "api-keys[0].role", "a quote was"},
    // no keys, where there should be some
    {"# nothing\n- data\n", 2, "", "keys were expected (data: /var/lib/omendb), not a list"},
    {"omend\n", 1, "", "keys were expected (data: /var/lib/omendb), not a text"},
    {"data: d\n? [a]\n: b\n", 2, "data", "a key was expected, not a list"},
};

START_TEST(every_refusal_of_a_file_names_the_line_the_key_and_what_was_expected)
{
    const struct refusal *refusal = &refusals[_i];
    char wanted[400];
    snprintf(wanted, sizeof wanted, "%s:%u: %s%s", path, refusal->line, refusal->key,
             refusal->key[0] == '\0' ? "" : ": ");
    claim_wrong(read_file(refusal->text), EXIT_BAD_CONFIG, refusal->sentence);
    ck_assert_msg(strncmp(error.text, wanted, strlen(wanted)) == 0, "%s", error.text);
    ck_assert_ptr_null(strpbrk(error.text, "\n\t"));
}
END_TEST

START_TEST(of_several_things_wrong_in_a_file_the_first_one_is_said)
{
    claim_wrong(read_file("data: d\nzone: a b\nlisen: x\nname: [n\n\tprofile: fast\n"),
                EXIT_BAD_CONFIG, ":2: zone: \"a b\" is no name");
}
END_TEST

// A refusal is cut in its middle where it is too long: not through its line or its key.
START_TEST(a_long_name_of_a_file_and_a_long_value_leave_the_line_and_the_key)
{
    char name[300], text[700], wanted[400];
    memset(text, '1', sizeof text);
    memcpy(text, "data: d\nmetadata-voters: ", 25);
    memcpy(text + sizeof text - 2, "\n", 2);
    snprintf(name, sizeof name, "%s/", folder.path);
    size_t count = strlen(name);
    while (count < 64)
        name[count++] = 'n';
    for (; count < 66; count++) {
        name[count] = '\0';
        write_file(name, text, 0644);
        snprintf(wanted, sizeof wanted, "%s%s:2: metadata-voters: \"111", count == 64 ? "" : "...",
                 count == 64 ? name : name + count - 61);
        claim_wrong(READ(nothing, "--config", name), EXIT_BAD_CONFIG,
                    "\" is no number from 1 to 7");
        ck_assert_msg(strncmp(error.text, wanted, strlen(wanted)) == 0, "%s", error.text);
        name[count] = 'n';
    }
    for (uint32_t i = 0; i < 2; i++) { // one of them would be cut through a character
        snprintf(name, sizeof name, "%s/%s", folder.path, i == 0 ? "" : "n");
        for (count = strlen(name); count < 120; count += 2)
            memcpy(name + count, "\xc3\xa9", 3);
        write_file(name, text, 0644);
        claim_wrong(READ(nothing, "--config", name), EXIT_BAD_CONFIG, ":2: metadata-voters: \"111");
        ck_assert(utf8_valid(error.text, strlen(error.text)));
    }
}
END_TEST

static size_t
write_key(char *out, size_t room, uint32_t number)
{
    return (size_t)snprintf(
        out, room, "- {name: a%u, role: read, sha256: \"" SIXTY_FOUR_DIGITS "\"}\n", number);
}

static size_t
write_address(char *out, size_t room, uint32_t number)
{
    return (size_t)snprintf(out, room, "- 127.0.0.1:%u\n", 1 + number);
}

START_TEST(a_file_has_as_many_keys_and_addresses_as_may_be_and_not_one_more)
{
    static char text[2 * CONFIG_FILE_BYTES_MAX];
    static const struct {
        const char *head, *sentence;
        size_t (*item)(char *out, size_t room, uint32_t number);
        uint32_t most;
    } lists[] = {
        {"data: d\napi-keys:\n", ":67: api-keys[64]: at most 64 keys", write_key, CONFIG_KEYS_MAX},
        {"data: d\njoin:\n", ":67: join[64]: more than 64 addresses", write_address,
         CONFIG_JOIN_MAX},
    };
    for (uint32_t i = 0; i < 2; i++) {
        size_t count = (size_t)snprintf(text, sizeof text, "%s", lists[i].head);
        for (uint32_t j = 0; j < lists[i].most; j++)
            count += lists[i].item(text + count, sizeof text - count, j);
        ck_assert_msg(read_file(text) == CONFIG_RUN, "%s", error.text);
        ck_assert_uint_eq(i == 0 ? config.key_count : config.join_count, lists[i].most);
        (void)lists[i].item(text + count, sizeof text - count, lists[i].most);
        claim_wrong(read_file(text), EXIT_BAD_CONFIG, lists[i].sentence);
    }
}
END_TEST

START_TEST(a_file_that_cannot_be_read_or_is_too_long_is_named)
{
    static char text[CONFIG_FILE_BYTES_MAX + 2];
    claim_wrong(READ(nothing, "--config", "/nowhere/at/all"), EXIT_BAD_CONFIG,
                "/nowhere/at/all: cannot be read: No such file");
    claim_wrong(READ(nothing, "--config", folder.path), EXIT_BAD_CONFIG,
                ": cannot be read: Is a directory");
    memset(text, '#', CONFIG_FILE_BYTES_MAX);
    memcpy(text, "data: d\n", 8);
    ck_assert_msg(read_file(text) == CONFIG_RUN, "%s", error.text);
    text[CONFIG_FILE_BYTES_MAX] = '#';
    claim_wrong(read_file(text), EXIT_BAD_CONFIG, ": longer than 65536 bytes");
    mem_fail_once(1);
    claim_wrong(read_file("data: d\n"), EXIT_NO_SYSTEM, status_text(OMEN_E_NO_MEMORY));
    mem_fail_once(0);
}
END_TEST

START_TEST(another_address_than_loopback_needs_a_cluster_key_and_api_keys_or_insecure)
{
    static const char keys[] =
        "data: d\ncluster-key: k\napi-keys:\n  - name: ops\n    role: admin\n    sha256: "
        "\"00000000000000010000000000000002ffffffffffffffff0000000000000004\"\n";
    claim_wrong(READ(nothing, "--data", "d", "--listen", "0.0.0.0:7700"), EXIT_BAD_CONFIG,
                "listen: another address than loopback needs cluster-key");
    claim_wrong(READ(nothing, "--data", "d", "--peer", "192.0.2.1:7701"), EXIT_BAD_CONFIG,
                "peer: another address than loopback needs cluster-key");
    claim_wrong(READ(nothing, "--data", "d", "--listen", "0.0.0.0", "--cluster-key", "k"),
                EXIT_BAD_CONFIG, "api-keys are missing");
    claim_wrong(READ(nothing, "--data", "d", "--listen", "0.0.0.0"), EXIT_BAD_CONFIG,
                "both are missing");
    ck_assert_int_eq(READ(nothing, "--data", "d", "--listen", "0.0.0.0", "--insecure"), CONFIG_RUN);
    write_file(path, keys, 0644);
    ck_assert_msg(READ(nothing, "--config", path, "--listen", "0.0.0.0") == CONFIG_RUN, "%s",
                  error.text);
    ck_assert_uint_eq(config.key_count, 1);
    ck_assert_uint_eq(config.keys[0].role, KEY_ADMIN);
    ck_assert_uint_eq(config.keys[0].hash_words[1], 2);
    ck_assert_uint_eq(config.keys[0].hash_words[2], UINT64_MAX);
}
END_TEST

START_TEST(who_listens_everywhere_must_say_where_others_reach_it)
{
    claim_wrong(READ(nothing, "--data", "d", "--peer", "0.0.0.0:1", "--insecure"), EXIT_BAD_CONFIG,
                "peer: nobody can be told");
    ck_assert_int_eq(READ(nothing, "--data", "d", "--peer", "0.0.0.0:1", "--insecure",
                          "--advertise", "192.0.2.1"),
                     CONFIG_RUN);
    claim_wrong(READ(nothing, "--data", "d", "--peer", "0.0.0.0:1", "--insecure", "--advertise",
                     "0.0.0.0:2"),
                EXIT_BAD_CONFIG, "peer: nobody can be told");
}
END_TEST

START_TEST(a_port_that_another_option_has_is_refused_by_both_names)
{
    claim_wrong(READ(nothing, "--data", "d", "--listen", "127.0.0.1:7701"), EXIT_BAD_CONFIG,
                "listen: port 7701 is the one of peer already");
    claim_wrong(READ(nothing, "--data", "d", "--admin", "127.0.0.1:7700"), EXIT_BAD_CONFIG,
                "admin: port 7700 is the one of listen already");
    claim_wrong(READ(nothing, "--data", "d", "--admin", "127.0.0.1:7701"), EXIT_BAD_CONFIG,
                "admin: port 7701 is the one of peer already");
    ck_assert_int_eq(READ(nothing, "--data", "d", "--listen", "127.0.0.1:0", "--peer",
                          "127.0.0.1:0", "--admin", "127.0.0.1:0"),
                     CONFIG_RUN);
}
END_TEST

START_TEST(a_cluster_key_is_long_enough_and_not_open_to_everybody)
{
    struct seal_keys keys, zeros = {0};
    char key[320];
    snprintf(key, sizeof key, "%s/key", folder.path);
    ck_assert_int_eq(READ(nothing, "--data", "d"), CONFIG_RUN);
    ck_assert_int_eq(config_seal_keys(&config, &keys, &error), OMEN_OK);
    ck_assert(memcmp(&keys, &zeros, sizeof keys) == 0);
    ck_assert_int_eq(READ(nothing, "--data", "d", "--cluster-key", key), CONFIG_RUN);
    ck_assert_int_eq(config_seal_keys(&config, &keys, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot be read: No such file"));
    write_file(key, "thirty-one bytes are not enough", 0600);
    ck_assert_int_eq(config_seal_keys(&config, &keys, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "has 31 bytes"));
    write_file(key, "thirty-two bytes are just enough", 0604);
    ck_assert_int_eq(config_seal_keys(&config, &keys, &error), OMEN_E_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "open to everybody"));
    ck_assert_int_eq(chmod(key, 0640), 0);
    ck_assert_int_eq(config_seal_keys(&config, &keys, &error), OMEN_OK);
    ck_assert(memcmp(&keys, &zeros, sizeof keys) != 0);
}
END_TEST

static Suite *
suite(void)
{
    Suite *suite = suite_create("node/config");
    TCase *tcase = tcase_create("config");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, what_is_not_said_has_a_default);
    tcase_add_test(tcase, every_option_is_read_from_all_three_places_alike);
    tcase_add_test(tcase, the_command_line_goes_before_the_environment_and_that_before_the_file);
    tcase_add_test(tcase, a_wrong_value_is_named_with_its_place);
    tcase_add_test(tcase, a_limit_is_taken_at_its_bounds_and_refused_one_beyond);
    tcase_add_test(tcase, a_key_may_have_a_rate_of_its_own);
    tcase_add_test(tcase, a_wrong_option_is_named);
    tcase_add_test(tcase, a_file_without_keys_says_nothing);
    tcase_add_test(tcase, a_list_of_the_file_may_be_a_text_with_commas_as_in_the_other_places);
    tcase_add_loop_test(tcase, every_refusal_of_a_file_names_the_line_the_key_and_what_was_expected,
                        0, (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tcase, of_several_things_wrong_in_a_file_the_first_one_is_said);
    tcase_add_test(tcase, a_long_name_of_a_file_and_a_long_value_leave_the_line_and_the_key);
    tcase_add_test(tcase, a_file_has_as_many_keys_and_addresses_as_may_be_and_not_one_more);
    tcase_add_test(tcase, a_file_that_cannot_be_read_or_is_too_long_is_named);
    tcase_add_test(tcase,
                   another_address_than_loopback_needs_a_cluster_key_and_api_keys_or_insecure);
    tcase_add_test(tcase, who_listens_everywhere_must_say_where_others_reach_it);
    tcase_add_test(tcase, a_port_that_another_option_has_is_refused_by_both_names);
    tcase_add_test(tcase, a_cluster_key_is_long_enough_and_not_open_to_everybody);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
