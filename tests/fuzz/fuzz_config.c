// tests/fuzz/fuzz_config.c -- any bytes as the configuration's file: refused with a line that it has, or a configuration within limits.
//
// Names are looked up nowhere: what is no address is known to nobody.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "node/config_int.h"

#define FILE_NAME "f.yaml"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
            struct addrinfo **found)
{
    static struct sockaddr_in four = {.sin_family = AF_INET};
    static struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    static struct addrinfo info;
    (void)service;
    (void)hints;
    if (inet_pton(AF_INET, host, &four.sin_addr) == 1)
        info.ai_addr = (struct sockaddr *)&four;
    else if (inet_pton(AF_INET6, host, &six.sin6_addr) == 1)
        info.ai_addr = (struct sockaddr *)&six;
    else
        return EAI_NONAME;
    *found = &info;
    return 0;
}

void
freeaddrinfo(struct addrinfo *found)
{
    (void)found;
}

// "f.yaml:3: ...", all in one line. A break that ends the text begins no line.
static void
look_at_refusal(const char *text, const struct config_text *said)
{
    static const char begins[] = FILE_NAME ":";
    ASSERT(strncmp(text, begins, sizeof begins - 1) == 0);
    char *end;
    const unsigned long line = strtoul(text + sizeof begins - 1, &end, 10);
    unsigned long lines = 1; // at most: YAML knows more breaks than these, which have three bytes
    for (size_t i = 0; i + 1 < said->count; i++)
        lines += strchr("\n\r\x85\xa8\xa9", said->bytes[i]) != NULL;
    ASSERT(line >= 1 && line <= lines);
    ASSERT(strncmp(end, ": ", 2) == 0 && end[2] != '\0');
    for (const char *at = text; *at != '\0'; at++)
        ASSERT((unsigned char)*at >= ' ');
}

static void
look_at_config(const struct config *config)
{
    ASSERT(memchr(config->data, 0, sizeof config->data) != NULL);
    ASSERT(memchr(config->cluster_key, 0, sizeof config->cluster_key) != NULL);
    ASSERT((config->roles & ~NODE_ROLES_ALL) == 0);
    ASSERT(config->join_count <= CONFIG_JOIN_MAX && config->key_count <= CONFIG_KEYS_MAX);
    for (uint32_t i = 0; i < config->join_count; i++)
        ASSERT(config->join[i].port != 0);
    for (uint32_t i = 0; i < config->key_count; i++)
        ASSERT(config->keys[i].name.count > 0 && config->keys[i].role >= KEY_READ &&
               config->keys[i].role <= KEY_ADMIN);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static struct config config;
    struct omen_error error = {0};
    if (count > CONFIG_FILE_BYTES_MAX)
        return 0;
    char *text = malloc(count + 1);
    ASSERT(text != NULL);
    memcpy(text, bytes, count);
    text[count] = '\0';
    const struct config_text said = {FILE_NAME, text, count};
    config = (struct config){.roles = NODE_ROLES_ALL};
    if (config_file_take(&said, &config, &error) != OMEN_OK)
        look_at_refusal(error.text, &said);
    else
        look_at_config(&config);
    free(text);
    return 0;
}
