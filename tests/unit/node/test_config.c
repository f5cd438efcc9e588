// tests/unit/node/test_config.c -- file, environment and command line say the same things alike; what is wrong is named, with its place.
#include "node/config.h"

#include <string.h>

#include "node/address.h"
#include "node/turn_said.h"
#include "tests/lib/check_main.h"
#include "tests/lib/folder.h"

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
    ck_assert_uint_eq(config.build_wait_ms, 30000);
    ck_assert_uint_eq(config.build_require_ms, 600000);
}
END_TEST

START_TEST(every_option_is_read_from_all_three_places_alike)
{
    struct config by_file, by_environment;
    write_file(path,
               "# a comment\n"
               "data: here\nroles: [data, router]\nlisten: 127.0.0.1:1\npeer: \"[::1]:2\"\n"
               "advertise: 127.0.0.2:3\njoin:\n  - 127.0.0.3:4\n  - 127.0.0.4\nname: n-1\n"
               "zone: z_1\ninsecure: true\ncluster-key: k\nprofile: fast\nweight: 7\n"
               "metadata-voters: 5\nthreads: 9\nadmin: 127.0.0.5\nslow-ms: 0\nleave-ms: "
               "600000\nbuild-wait-ms: 0\nbuild-require-ms: 86400000\nlog-level: debug\n",
               0644);
    ck_assert_msg(READ(nothing, "--config", path) == CONFIG_RUN, "%s", error.text);
    by_file = config;
    char *environment[] = {(char *)"OMEN_DATA=here",
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
                           (char *)"OMEN_LEAVE_MS=600000",
                           (char *)"OMEN_BUILD_WAIT_MS=0",
                           (char *)"OMEN_BUILD_REQUIRE_MS=86400000",
                           (char *)"OMEN_LOG_LEVEL=debug",
                           (char *)"OMEN_SOMETHING_ELSE=1",
                           NULL};
    ck_assert_msg(read_with(environment, (char *[]){(char *)"omend", NULL}) == CONFIG_RUN, "%s",
                  error.text);
    by_environment = config;
    ck_assert_msg(READ(nothing, "--data", "here", "--roles", "data,router", "--listen",
                       "127.0.0.1:1", "--peer", "[::1]:2", "--advertise", "127.0.0.2:3", "--join",
                       "127.0.0.3:4,127.0.0.4", "--name", "n-1", "--zone=z_1", "--insecure",
                       "--cluster-key", "k", "--profile", "fast", "--weight", "7",
                       "--metadata-voters", "5", "--threads", "9", "--admin",
                       "127.0.0.5:", "--slow-ms=0", "--leave-ms=600000", "--build-wait-ms=0",
                       "--build-require-ms=86400000", "--log-level", "debug") == CONFIG_RUN,
                  "%s", error.text);
    ck_assert_str_eq(by_file.file, path);
    by_file.file[0] = '\0';
    memset(by_file.file, 0, sizeof by_file.file);
    ck_assert(memcmp(&by_file, &config, sizeof config) == 0);
    ck_assert(memcmp(&by_environment, &config, sizeof config) == 0);
    claim_address(&config.peer, "[::1]:2");
    claim_address(&config.join[1], "127.0.0.4:7701");
    claim_address(&config.admin, "127.0.0.5:7780");
    ck_assert(config.admin_said);
    ck_assert_uint_eq(config.slow_ms, 0);
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
    memset(name, 'n', GOSSIP_DATA_BYTES_MAX - TURN_SAID_BYTES);
    ck_assert_int_eq(READ(nothing, "--data", "d", "--name", name), CONFIG_RUN);
    name[GOSSIP_DATA_BYTES_MAX - TURN_SAID_BYTES] = 'n';
    claim_wrong(READ(nothing, "--data", "d", "--name", name), EXIT_BAD_OPTION, "is no name");
    claim_wrong(READ(nothing, "--data", "d", "--join", "127.0.0.1:0"), EXIT_BAD_OPTION,
                "--join: \"127.0.0.1:0\"");
    claim_wrong(READ(nothing, "--data", "d", "--slow-ms", "soon"), EXIT_BAD_OPTION,
                "--slow-ms: \"soon\" is no number");
    claim_wrong(READ(nothing, "--data", "d", "--leave-ms", "600001"), EXIT_BAD_OPTION,
                "--leave-ms: \"600001\" is no number from 0 to 600000");
    claim_wrong(READ(nothing, "--data", "d", "--build-wait-ms", "86400001"), EXIT_BAD_OPTION,
                "--build-wait-ms: \"86400001\" is no number from 0 to 86400000");
    claim_wrong(READ(nothing, "--data", "d", "--build-require-ms", "86400001"), EXIT_BAD_OPTION,
                "--build-require-ms: \"86400001\" is no number from 0 to 86400000");
    claim_wrong(READ(nothing, "--data", "d", "--admin", "7780:x"), EXIT_BAD_OPTION,
                "--admin: \"7780:x\": the port");
    char *environment[] = {(char *)"OMEN_LOG_LEVEL=loud", NULL};
    claim_wrong(READ(environment, "--data", "d"), EXIT_BAD_CONFIG,
                "OMEN_LOG_LEVEL: \"loud\" is none of");
    write_file(path, "data: d\n\n# nothing here\nthreads: 1e9\n", 0644);
    char wanted[400];
    snprintf(wanted, sizeof wanted, "%s:4: threads: \"1e9\" is no number", path);
    claim_wrong(READ(nothing, "--config", path), EXIT_BAD_CONFIG, wanted);
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

START_TEST(a_file_of_the_wrong_shape_is_named_with_its_line)
{
    static const struct {
        const char *text, *sentence;
        uint32_t line;
    } cases[] = {
        {"data: d\nlisten: 127.0.0.1:1\nlisen: 127.0.0.1:1\n", "lisen", 3},
        {"data: d\nroles: data\n", "", 2},
        {"data: d\nzone: [a, b]\n", "", 2},
        {"data: d\napi-keys:\n  - name: a\n    role: read\n", "", 0},
        {"data: d\n\tzone: a\n", "tab", 0},
        {"data: d\nzone: {a\n", "", 0},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(path, cases[i].text, 0644);
        char wanted[400];
        snprintf(wanted, sizeof wanted, cases[i].line == 0 ? "%s:" : "%s:%u: ", path,
                 cases[i].line);
        claim_wrong(READ(nothing, "--config", path), EXIT_BAD_CONFIG, wanted);
        ck_assert_msg(strstr(error.text, cases[i].sentence) != NULL, "%s", error.text);
    }
    claim_wrong(READ(nothing, "--config", "/nowhere/at/all"), EXIT_BAD_CONFIG,
                "/nowhere/at/all: cannot be read");
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
                EXIT_BAD_CONFIG, "needs api-keys");
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
    tcase_add_test(tcase, a_wrong_option_is_named);
    tcase_add_test(tcase, a_file_of_the_wrong_shape_is_named_with_its_line);
    tcase_add_test(tcase,
                   another_address_than_loopback_needs_a_cluster_key_and_api_keys_or_insecure);
    tcase_add_test(tcase, who_listens_everywhere_must_say_where_others_reach_it);
    tcase_add_test(tcase, a_cluster_key_is_long_enough_and_not_open_to_everybody);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(suite)
