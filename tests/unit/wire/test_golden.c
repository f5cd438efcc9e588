// tests/unit/wire/test_golden.c -- what an earlier build sent is read, and written again to the same bytes.
//
// tests/golden/wire/ has a request and an answer of every method, one message behind the other. The files are kept for ever: who
// adds a key that may be missing leaves them alone, and who breaks one of them breaks somebody's program. A method that is
// new goes into files of its own. They were made by this test: OMEN_GOLDEN=write makes those that are missing. In the first two the
// keys of tokens are numbers; in the next two they are texts, as they have been since.
//
// Libraries: msgpackc
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/check_main.h"
#include "tests/lib/wire_random.h"
#include "wire/frame.h"
#include "wire/rpc.h"

#define FOLDER "tests/golden/wire/"

static struct encode encode;
static struct wire_pool pool;
static union method_body body;

static void
fresh(void)
{
    encode_init(&encode, 1 << 24);
}

static void
tidy_up(void)
{
    encode_fini(&encode);
}

static void
make(const char *path, enum rpc_kind kind)
{
    struct prng prng;
    prng_init(&prng, kind);
    encode_reset(&encode);
    for (uint32_t i = 0; i < METHODS_END; i++) {
        const struct method *method = method_at((enum method_number)i);
        pool.used = 0;
        random_struct(&prng, &pool, kind == RPC_REQUEST ? method->ask : method->answer, &body);
        if (kind == RPC_REQUEST)
            rpc_write_ask(&encode, i * 1000, method, &body);
        else
            rpc_write_answer(&encode, i * 1000, method, &body);
    }
    FILE *file = fopen(path, "wbx");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(encode.bytes, 1, encode.count, file), encode.count);
    fclose(file);
}

static uint8_t *
read_file(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    uint8_t *bytes = malloc(1 << 20);
    *count = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

// The checks of a method are left aside: what is random need not belong together.
static void
read_and_write(const struct rpc_message *message, uint32_t number)
{
    struct omen_error error = {0};
    const struct method *method = method_at((enum method_number)number);
    struct decode decode;
    if (message->kind == RPC_REQUEST) {
        ck_assert_ptr_eq(method_find(message->method), method);
        decode_init(&decode, message->params, &decode_after_hello, &error);
        ck_assert_uint_eq(decode_array(&decode), 1);
        shape_read(&decode, method->ask, &body);
        decode_close(&decode);
        ck_assert_msg(decode_end(&decode) == OMEN_OK, "%s", error.text);
        rpc_write_ask(&encode, message->id, method, &body);
    } else {
        ck_assert_msg(rpc_read_answer(message, method, &body, &error) == OMEN_OK, "%s", error.text);
        rpc_write_answer(&encode, message->id, method, &body);
    }
}

// Another reader sees one object, whole, and writes it to the same bytes.
static void
check_by_msgpack_c(const uint8_t *bytes, size_t count)
{
    msgpack_unpacked unpacked;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    size_t at = 0;
    msgpack_unpacked_init(&unpacked);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    ck_assert_int_eq(msgpack_unpack_next(&unpacked, (const char *)bytes, count, &at),
                     MSGPACK_UNPACK_SUCCESS);
    ck_assert_uint_eq(at, count);
    ck_assert_int_eq(msgpack_pack_object(&packer, unpacked.data), 0);
    ck_assert_uint_eq(buffer.size, count);
    ck_assert(memcmp(buffer.data, bytes, count) == 0);
    msgpack_sbuffer_destroy(&buffer);
    msgpack_unpacked_destroy(&unpacked);
}

static void
check_file(const char *path, enum rpc_kind kind, uint32_t methods)
{
    size_t count;
    uint8_t *bytes = read_file(path, &count);
    struct frame frame;
    frame_init(&frame, &decode_after_hello);
    uint32_t messages = 0;
    for (size_t at = 0, message; at < count; at += message, messages++) {
        ck_assert_int_eq(frame_find(&frame, bytes + at, count - at, &message), FRAME_WHOLE);
        struct rpc_message rpc;
        ck_assert_int_eq(rpc_read((struct wire_bytes){bytes + at, (uint32_t)message},
                                  &decode_after_hello, &rpc, NULL),
                         OMEN_OK);
        ck_assert_int_eq(rpc.kind, kind);
        ck_assert_uint_eq(rpc.id, messages * 1000);
        encode_reset(&encode);
        read_and_write(&rpc, messages);
        ck_assert_uint_eq(encode.count, message);
        ck_assert(memcmp(encode.bytes, bytes + at, message) == 0);
        check_by_msgpack_c(bytes + at, message);
    }
    ck_assert_uint_eq(messages, methods);
    free(bytes);
}

START_TEST(what_an_earlier_build_sent_is_read_and_written_alike)
{
    static const struct {
        const char *path;
        enum rpc_kind kind;
        uint32_t methods; // of the build that made them
    } files[] = {{FOLDER "requests-1.msgpack", RPC_REQUEST, 54},
                 {FOLDER "answers-1.msgpack", RPC_ANSWER, 54},
                 {FOLDER "requests-2.msgpack", RPC_REQUEST, 54},
                 {FOLDER "answers-2.msgpack", RPC_ANSWER, 54}};
    const char *want = getenv("OMEN_GOLDEN");
    if (want != NULL && strcmp(want, "write") == 0 && access(files[_i].path, F_OK) != 0)
        make(files[_i].path, files[_i].kind);
    check_file(files[_i].path, files[_i].kind, files[_i].methods);
}
END_TEST

static Suite *
golden_suite(void)
{
    Suite *suite = suite_create("wire/golden");
    TCase *tcase = tcase_create("golden");
    tcase_add_checked_fixture(tcase, fresh, tidy_up);
    tcase_add_loop_test(tcase, what_an_earlier_build_sent_is_read_and_written_alike, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}

CHECK_MAIN(golden_suite)
